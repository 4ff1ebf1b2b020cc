{{ union_integrations('refund') }}
