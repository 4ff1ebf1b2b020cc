{{ config(materialized='changed_facets', unique_key=['location_id', 'business_date']) }}

-- Days whose numbers may lack a refused record. A record that no longer says its day counts on the day it was observed;
-- one that does not say its site counts at every site of its source.
with refused as (

    select
        quarantine.source_id,
        quarantine.business_date,
        blocks.observed_at
    from {{ ref('stg_shard__quarantine') }} as quarantine
    left join {{ ref('stg_shard__loaded_blocks') }} as blocks
        on quarantine.block_id = blocks.block_id
        and quarantine.generation = blocks.generation
    where quarantine.is_open

)

select
    location_map.location_id,
    coalesce(
        refused.business_date,
        (
            refused.observed_at at time zone coalesce(settings.timezone, 'UTC')
            - coalesce(settings.day_start, '4 hours')
        )::date
    ) as business_date,
    count(*) as refused_records
from refused
inner join {{ ref('keys_source_location') }} as source_locations
    on refused.source_id = source_locations.source_id
inner join {{ ref('keys_location_map') }} as location_map
    on source_locations.id = location_map.source_location_id
    and location_map.valid_to = 'infinity'
left join {{ ref('keys_location_setting') }} as settings
    on location_map.location_id = settings.location_id
    and settings.valid_to = 'infinity'
group by 1, 2
