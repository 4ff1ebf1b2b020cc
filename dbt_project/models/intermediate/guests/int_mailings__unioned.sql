{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'natural_key'],
        facet=['source_id', 'root_key'],
        facet_from=record_facets(),
    )
}}

{{ union_integrations('mailing') }}
