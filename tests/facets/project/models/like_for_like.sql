-- A day also changes when the days it is compared with do.
{{ config(
    unique_key=['location_id', 'business_date'],
    facet=['location_id', 'business_date'],
    facet_from={
        'sales_day':
            'select location_id, business_date from changed
            union select location_id, business_date + 7 from changed
            union select location_id, business_date + 364 from changed',
    },
    slice={
        'sales_day':
            '(location_id, business_date) in (
                select location_id, business_date from facets
                union select location_id, business_date - 7 from facets
                union select location_id, business_date - 364 from facets
            )',
    },
) }}
select
    today.location_id,
    today.business_date,
    today.net,
    last_week.net as net_last_week,
    last_year.net as net_last_year,
    today.net - coalesce(last_week.net, 0) as since_last_week,
    today.net - coalesce(last_year.net, 0) as since_last_year
from {{ ref('sales_day') }} as today
left join {{ ref('sales_day') }} as last_week
    on today.location_id = last_week.location_id and today.business_date - 7 = last_week.business_date
left join {{ ref('sales_day') }} as last_year
    on today.location_id = last_year.location_id and today.business_date - 364 = last_year.business_date
