{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id'],
    )
}}

-- The calendar of each location. From the first day of a subject on, a day without any is 0; before it, NULL.
select
    spans.location_id,
    calendar.business_date::date as business_date,
    spans.currency,
    spans.business_id,
    calendar.business_date >= spans.sales_from as has_sales,
    calendar.business_date >= spans.labour_from as has_labour,
    calendar.business_date >= spans.spend_from as has_spend
from {{ ref('sum_location_span') }} as spans
cross join lateral generate_series(spans.first_day, spans.last_day, interval '1 day') as calendar (business_date)
