-- A facet that is no facet of the parent but one of its columns: a row that leaves a category touches the old one too.
{{ config(unique_key='category', facet=['category']) }}
select
    category,
    count(*) as location_days,
    sum(net) as net,
    min(business_date) as first_date,
    max(business_date) as last_date
from {{ ref('category_day') }}
group by 1
