{{ union_integrations('employee') }}
