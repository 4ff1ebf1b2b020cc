{{ bi_view(ref('dim_item'), 'item_id') }}
