{{ union_integrations('wage') }}
