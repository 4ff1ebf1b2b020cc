{{ bi_view(ref('fct_payment'), 'payment_id') }}
