{{
    config(
        materialized='key_table',
        unique_key=['location_id'],
        parent='location_id',
        draws_id=false,
        meta={'feed': {'table': 'feed__location_setting', 'beside': 'keys.location_setting'}},
    )
}}

-- The first settings of a location are what its vendors say, tills before rotas; from then on they are people's.
with told as (

    select
        location_map.location_id,
        locations.timezone,
        locations.day_start,
        row_number() over (
            partition by location_map.location_id
            order by locations.is_till desc, (location_map.rule = 'itself') desc, location_map.source_location_id
        ) as preference
    from {{ ref('keys_location_map') }} as location_map
    inner join {{ ref('keys_source_location') }} as keys
        on location_map.source_location_id = keys.id
    inner join {{ ref('int_locations__unioned') }} as locations
        on keys.source_id = locations.source_id
        and keys.natural_key = locations.natural_key
    inner join pg_timezone_names as known_timezones
        on locations.timezone = known_timezones.name

)

select
    location_id,
    timezone,
    coalesce(day_start, '4 hours') as day_start,
    'vendor' as decided_by
from told
where preference = 1
