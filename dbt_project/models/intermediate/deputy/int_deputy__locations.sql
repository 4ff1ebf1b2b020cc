select
    source_id,
    location_key as natural_key,
    location_name,
    timezone,
    null as day_start,  -- a rota has none: the till's, else the default of the location's settings
    null as currency,
    null as country,
    region,
    locality,
    postal_code,
    address_line,
    is_active,
    false as is_till
from {{ ref('stg_deputy__locations') }}
