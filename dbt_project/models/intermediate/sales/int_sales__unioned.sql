{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'natural_key'],
        facet=['source_id', 'root_key'],
        facet_from=record_facets(sites='this'),
        indexes=[{'columns': ['source_id', 'location_key']}, {'columns': ['source_id', 'employee_key']}],
    )
}}

{{ union_integrations('sale') }}
