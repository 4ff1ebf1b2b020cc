{{ bi_view(ref('fct_refund'), 'refund_id') }}
