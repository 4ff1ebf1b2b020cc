-- Behind a view, whose columns are its table's.
{{ config(
    unique_key='shift_id',
    facet=['shift_id'],
    facet_from={
        'raw.location_setting': 'select shift_id from raw.shift where location_id in (select location_id from changed)',
    },
    indexes=[{'columns': ['location_id', 'business_date']}],
) }}
select
    shift.shift_id,
    shift.location_id,
    (shift.started_at at time zone setting.time_zone - setting.day_start * interval '1 hour')::date as business_date,
    shift.hours,
    shift.cost
from {{ ref('shift_worked') }} as shift
inner join {{ source('raw', 'location_setting') }} as setting using (location_id)
