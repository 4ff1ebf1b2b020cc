{{ bi_view(ref('dim_location'), 'location_id') }}
