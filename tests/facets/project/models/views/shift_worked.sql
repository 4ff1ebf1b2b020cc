-- A view: who reads it follows the feeds of what is beneath.
select
    shift_id,
    location_id,
    started_at,
    hours,
    cost
from {{ source('raw', 'shift') }}
where hours > 0
