{{ bi_view(ref('sum_review_week'), 'location_id') }}
