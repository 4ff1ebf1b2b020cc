{{ union_integrations('item') }}
