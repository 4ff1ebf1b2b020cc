{{ bi_view(ref('sum_location_glance'), 'location_id') }}
