{{ bi_view(ref('dim_campaign'), 'campaign_id') }}
