{{ config(materialized='changed_facets', unique_key=['location_id']) }}

-- Up to when the location's vendors were asked: each of its sources by itself, and of those the earliest, because a day is
-- complete only once all have told theirs. Null while one of them was never asked. A day's trade is complete without what
-- guests say of it.
with sources as (

    select distinct
        location_map.location_id,
        source_locations.source_id
    from {{ ref('keys_location_map') }} as location_map
    inner join {{ ref('keys_source_location') }} as source_locations
        on location_map.source_location_id = source_locations.id
    inner join {{ ref('stg_shard__sources') }} as vendors
        on source_locations.source_id = vendors.source_id
    where
        location_map.valid_to = 'infinity'
        and vendors.integration not in ({{ integrations_beside_trade() }})

)

select
    sources.location_id,
    case when count(observed.observed_at) = count(*) then min(observed.observed_at) end as data_through
from sources
left join {{ ref('stg_shard__read_through') }} as observed
    on sources.source_id = observed.source_id
group by sources.location_id
