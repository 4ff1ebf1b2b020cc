{{ config(materialized='applied_difference', unique_key=['source_id', 'natural_key']) }}

-- A table: four models read it, and unnesting the tills' records is what takes time.
{{ union_integrations('sale_item') }}
