{{ bi_view(ref('sum_item_movers_week'), 'location_id') }}
