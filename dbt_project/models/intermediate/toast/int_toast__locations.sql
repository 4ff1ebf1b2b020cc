select
    source_id,
    location_key as natural_key,
    location_name,
    timezone,
    make_interval(hours => closeout_hour) as day_start,
    currency,
    country,
    region,
    locality,
    postal_code,
    address_line,
    true as is_active,
    true as is_till
from {{ ref('stg_toast__locations') }}
