{{ union_integrations('ad_spend') }}
