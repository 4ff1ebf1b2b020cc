{{ bi_view(ref('fct_discount'), 'discount_id') }}
