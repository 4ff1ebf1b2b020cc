{{ bi_view(ref('fct_refund_item'), 'refund_id') }}
