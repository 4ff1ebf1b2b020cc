{{ bi_view(ref('fct_mailing'), 'mailing_id') }}
