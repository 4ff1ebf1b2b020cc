{{ config(unique_key=['location_id']) }}

-- What the location's sites are called and where they are: of the tills first, then of others.
with sites as (

    select
        location_map.location_id,
        locations.*,
        row_number() over (
            partition by location_map.location_id
            order by locations.is_active desc, locations.is_till desc, (location_map.rule = 'itself') desc, keys.id
        ) as preference,
        count(*) over (partition by location_map.location_id) as site_count
    from {{ ref('keys_location_map') }} as location_map
    inner join {{ ref('keys_source_location') }} as keys
        on location_map.source_location_id = keys.id
    inner join {{ ref('int_locations__unioned') }} as locations
        on keys.source_id = locations.source_id
        and keys.natural_key = locations.natural_key
    where location_map.valid_to = 'infinity'

),

settings as (

    select distinct on (settings.location_id)
        settings.location_id,
        settings.timezone,
        settings.day_start
    from {{ ref('keys_location_setting') }} as settings
    cross join {{ ref('stg_shard__clock') }} as clock
    where settings.valid_from <= clock.now::date
    order by settings.location_id, settings.valid_from desc

)

select
    locations.id as location_id,
    locations.parent_id as business_id,
    businesses.business_name,
    coalesce(sites.location_name, locations.name) as location_name,
    coalesce(settings.timezone, 'UTC') as timezone,
    coalesce(settings.day_start, '4 hours') as day_start,
    sites.currency::text as currency,
    sites.country,
    sites.region,
    sites.locality,
    sites.postal_code,
    sites.address_line,
    coalesce(sites.is_active, false) as is_active,
    coalesce(sites.site_count, 0)::integer as site_count
from {{ ref('keys_location') }} as locations
inner join {{ ref('stg_shard__businesses') }} as businesses
    on locations.parent_id = businesses.business_id
left join sites
    on locations.id = sites.location_id
    and sites.preference = 1
left join settings
    on locations.id = settings.location_id
