{{ union_integrations('refund_item') }}
