{{ union_integrations('location') }}
