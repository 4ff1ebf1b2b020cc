{{ union_integrations('campaign') }}
