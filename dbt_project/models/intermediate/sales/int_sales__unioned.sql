{{ union_integrations('sale') }}
