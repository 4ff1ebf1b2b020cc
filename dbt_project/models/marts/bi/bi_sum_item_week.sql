{{ bi_view(ref('sum_item_week'), 'location_id') }}
