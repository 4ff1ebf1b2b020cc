{{ bi_view(ref('fct_sale_item'), 'sale_item_id') }}
