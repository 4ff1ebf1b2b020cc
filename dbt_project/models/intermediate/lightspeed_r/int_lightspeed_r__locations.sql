select
    source_id,
    location_key as natural_key,
    location_name,
    timezone,
    null::interval as day_start,
    null as currency,  -- nowhere told: the business's reporting currency
    country,
    region,
    locality,
    postal_code,
    address_line,
    not is_archived as is_active,
    true as is_till
from {{ ref('stg_lightspeed_r__locations') }}
