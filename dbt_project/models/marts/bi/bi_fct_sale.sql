{{ bi_view(ref('fct_sale'), 'sale_id') }}
