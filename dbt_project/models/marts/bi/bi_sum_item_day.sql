{{ bi_view(ref('sum_item_day'), 'location_id') }}
