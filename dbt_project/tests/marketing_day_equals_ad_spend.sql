-- All that the vendors billed is in the days, allocated or not.
with days as (

    select
        business_id,
        currency,
        sum(spend) as spend,
        sum(allocated_spend + unallocated_spend) as both_spends
    from {{ ref('sum_marketing_day') }}
    group by business_id, currency

),

billed as (

    select
        sources.business_id,
        ad_spends.currency::text as currency,
        sum(ad_spends.spend) as spend
    from {{ ref('int_ad_spends__unioned') }} as ad_spends
    inner join {{ ref('stg_shard__sources') }} as sources
        on ad_spends.source_id = sources.source_id
    group by sources.business_id, ad_spends.currency

)

select
    business_id,
    currency,
    days.spend,
    billed.spend as billed
from days
full join billed using (business_id, currency)
where
    coalesce(days.spend, 0) <> coalesce(billed.spend, 0)
    or coalesce(days.both_spends, 0) <> coalesce(days.spend, 0)
