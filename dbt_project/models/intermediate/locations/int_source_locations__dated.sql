{{
    config(
        materialized='changed_facets',
        unique_key=['source_location_id', 'valid_from'],
        indexes=[{'columns': ['source_id', 'location_key']}],
    )
}}

-- Which location a vendor's site is, and by which clock it lives, from a business date on: the map's validities cut by
-- those of the settings. The first row reaches back for ever, each until the next begins. A handful of rows.
with mapped as (

    select
        keys.source_id,
        keys.natural_key as location_key,
        location_map.source_location_id,
        location_map.location_id,
        location_map.valid_from,
        location_map.valid_to
    from {{ ref('keys_location_map') }} as location_map
    inner join {{ ref('keys_source_location') }} as keys
        on location_map.source_location_id = keys.id

),

cut as (

    select
        mapped.source_id,
        mapped.location_key,
        mapped.source_location_id,
        mapped.location_id,
        coalesce(settings.timezone, 'UTC') as timezone,
        coalesce(settings.day_start, '4 hours') as day_start,
        greatest(mapped.valid_from, coalesce(settings.valid_from, '-infinity')) as valid_from
    from mapped
    left join {{ ref('keys_location_setting') }} as settings
        on mapped.location_id = settings.location_id
        and mapped.valid_from < settings.valid_to
        and mapped.valid_to > settings.valid_from

)

select
    source_id,
    location_key,
    source_location_id,
    location_id,
    timezone,
    day_start,
    case
        when row_number() over (partition by source_location_id order by valid_from) = 1 then '-infinity'
        else valid_from
    end as valid_from,
    coalesce(lead(valid_from) over (partition by source_location_id order by valid_from), 'infinity') as valid_to
from cut
