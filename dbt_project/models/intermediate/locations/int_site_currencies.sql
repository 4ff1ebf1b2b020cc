{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'location_key'],
        facet=['source_id', 'root_key'],
    )
}}

-- What the amounts of a site's records depend on. By itself, so that a site that is renamed changes no order.
select
    source_id,
    natural_key as location_key,
    root_key,
    country,
    currency
from {{ ref('int_locations__unioned') }}
