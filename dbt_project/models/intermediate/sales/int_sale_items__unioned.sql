{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'natural_key'],
        facet=['source_id', 'root_key'],
        facet_from=record_facets(sites='int_sales__unioned'),
        indexes=[{'columns': ['source_id', 'item_key']}, {'columns': ['source_id', 'employee_key']}],
    )
}}

-- depends_on: {{ ref('int_sales__unioned') }}
{{ union_integrations('sale_item') }}
