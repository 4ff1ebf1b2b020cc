{{ bi_view(ref('sum_marketing_location_day'), 'location_id') }}
