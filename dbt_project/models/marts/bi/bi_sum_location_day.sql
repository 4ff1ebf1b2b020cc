{{ bi_view(ref('sum_location_day'), 'location_id') }}
