{{ union_integrations('discount') }}
