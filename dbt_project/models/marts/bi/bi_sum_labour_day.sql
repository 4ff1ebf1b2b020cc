{{ bi_view(ref('sum_labour_day'), 'location_id') }}
