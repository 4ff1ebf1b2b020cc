{% set changed = ['fct_sale', 'fct_refund', 'sum_sales_day', 'sum_item_day'] %}
-- Nothing is lost or doubled on the way from facts to summaries: the same sums by location and currency.
with facts as (

    select
        location_id,
        currency,
        sum(order_count) as order_count,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(total_collected) as total_collected,
        sum(void_amount) as void_amount,
        sum(open_sales) as open_sales
    from {{ tested_rows(ref('fct_sale'), ['location_id', 'business_date'], changed) }} as fct_sale
    group by location_id, currency

),

refunds as (

    select
        location_id,
        currency,
        sum(returns) as returns,
        sum(
            returns + refund_unitemised + tax_returned + tip_returned + service_charge_returned
            + gratuity_returned + gift_card_returned + donations_returned + rounding_returned
        ) as given_back
    from {{ tested_rows(ref('fct_refund'), ['location_id', 'business_date'], changed) }} as fct_refund
    group by location_id, currency

),

days as (

    select
        location_id,
        currency,
        sum(order_count) as order_count,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(returns) as returns,
        sum(total_collected) as total_collected,
        sum(void_amount) as void_amount,
        sum(open_sales) as open_sales
    from {{ tested_rows(ref('sum_sales_day'), ['location_id', 'business_date'], changed) }} as sum_sales_day
    group by location_id, currency

),

items as (

    select
        location_id,
        currency,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(returns) as returns,
        sum(void_amount) as void_amount,
        sum(open_sales) as open_sales
    from {{ tested_rows(ref('sum_item_day'), ['location_id', 'business_date'], changed) }} as sum_item_day
    group by location_id, currency

)

select
    location_id,
    currency
from days
full join facts using (location_id, currency)
full join refunds using (location_id, currency)
full join items using (location_id, currency)
where
    coalesce(days.order_count, 0) <> coalesce(facts.order_count, 0)
    or coalesce(days.gross_sales, 0) <> coalesce(facts.gross_sales, 0)
    or coalesce(days.discount, 0) <> coalesce(facts.discount, 0)
    or coalesce(days.returns, 0) <> coalesce(refunds.returns, 0)
    or coalesce(days.total_collected, 0) <> coalesce(facts.total_collected, 0) - coalesce(refunds.given_back, 0)
    or coalesce(days.void_amount, 0) <> coalesce(facts.void_amount, 0)
    or coalesce(days.open_sales, 0) <> coalesce(facts.open_sales, 0)
    or coalesce(days.gross_sales, 0) <> coalesce(items.gross_sales, 0)
    or coalesce(days.discount, 0) <> coalesce(items.discount, 0)
    or coalesce(days.returns, 0) <> coalesce(items.returns, 0)
    or coalesce(days.void_amount, 0) <> coalesce(items.void_amount, 0)
    or coalesce(days.open_sales, 0) <> coalesce(items.open_sales, 0)
