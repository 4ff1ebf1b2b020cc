{{
    config(
        unique_key=['location_id', 'currency'],
        facet=['location_id'],
        facet_from={'fct_ad_spend': "select location_id from changed where location_id is not null"},
        slice={'fct_ad_spend': "location_id in (select facets.location_id from facets)"},
    )
}}

-- Since when and until when each subject is known of a location.
with known_days as (

    select
        location_id,
        currency,
        business_date,
        'sales' as subject
    from {{ ref('sum_sales_day') }}

    union all

    select
        location_id,
        currency,
        business_date,
        'labour' as subject
    from {{ ref('sum_labour_day') }}

    union all

    select
        location_id,
        currency,
        business_date,
        'spend' as subject
    from {{ ref('fct_ad_spend') }}
    where is_allocated

)

select
    location_id,
    currency,
    min(business_date) filter (where subject = 'sales') as sales_from,
    min(business_date) filter (where subject = 'labour') as labour_from,
    min(business_date) filter (where subject = 'spend') as spend_from,
    max(business_date) filter (where subject = 'sales') as sales_to,
    max(business_date) filter (where subject = 'labour') as labour_to,
    max(business_date) filter (where subject = 'spend') as spend_to
from known_days
group by location_id, currency
