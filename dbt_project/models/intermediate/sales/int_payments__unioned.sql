{{ union_integrations('payment') }}
