{{
    config(
        unique_key=['location_id', 'currency'],
        facet=['location_id'],
        facet_from={
            'dim_location': "select location_id from changed",
            'keys.clock': "select location_id from sum_location_trading",
        },
    )
}}

-- Every day up to the one that now runs is a row, traded or not; a closed site ends with its last trade. Spend is on the ad
-- account's calendar, whose day can begin before the location's.
select
    trading.location_id,
    trading.currency,
    locations.business_id,
    trading.sales_from,
    trading.labour_from,
    trading.spend_from,
    least(trading.sales_from, trading.labour_from, trading.spend_from) as first_day,
    greatest(
        trading.sales_to,
        trading.labour_to,
        trading.spend_to,
        case
            when locations.is_active then (clock.now at time zone locations.timezone - locations.day_start)::date
        end
    ) as last_day
from {{ ref('sum_location_trading') }} as trading
inner join {{ ref('dim_location') }} as locations
    on trading.location_id = locations.location_id
cross join {{ ref('stg_shard__clock') }} as clock
