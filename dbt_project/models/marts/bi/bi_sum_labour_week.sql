{{ bi_view(ref('sum_labour_week'), 'location_id') }}
