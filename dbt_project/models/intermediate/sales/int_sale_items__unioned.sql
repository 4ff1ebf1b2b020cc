{{ union_integrations('sale_item') }}
