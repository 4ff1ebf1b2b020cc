select
    source_id,
    location_key as natural_key,
    location_name,
    timezone,
    null::interval as day_start,  -- Square's reports begin at midnight unless set otherwise there; the setting is not in its API
    currency,
    country,
    region,
    locality,
    postal_code,
    address_line,
    is_active,
    true as is_till
from {{ ref('stg_square__locations') }}
