select
    source_id,
    location_key as natural_key,
    location_name,
    timezone,
    null::interval as day_start,  -- Clover's reports begin at midnight unless set otherwise there
    currency,
    country,
    region,
    locality,
    postal_code,
    address_line,
    true as is_active,
    true as is_till
from {{ ref('stg_clover__locations') }}
