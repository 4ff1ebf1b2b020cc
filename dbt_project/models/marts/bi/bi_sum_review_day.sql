{{ bi_view(ref('sum_review_day'), 'location_id') }}
