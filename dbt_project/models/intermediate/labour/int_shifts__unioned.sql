{{ union_integrations('shift') }}
