-- Google tells neither time zone nor currency: they are those of the location that a person maps the site to.
select
    source_id,
    location_key as natural_key,
    location_name,
    null as timezone,
    null as day_start,
    null as currency,
    country,
    region,
    locality,
    postal_code,
    address_line,
    coalesce(opening_status, '') <> 'CLOSED_PERMANENTLY' as is_active,
    false as is_till
from {{ ref('stg_google_business__locations') }}
