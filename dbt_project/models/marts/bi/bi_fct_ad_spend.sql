{{ bi_view(ref('fct_ad_spend'), 'ad_spend_id') }}
