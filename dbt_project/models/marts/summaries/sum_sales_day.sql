{{ config(unique_key=['location_id', 'business_date', 'currency']) }}

with days as (

    select
        location_id,
        business_date,
        currency,
        sum(order_count)::bigint as order_count,
        sum(covers)::bigint as covers,
        sum(net_sales_with_covers) as net_sales_with_covers,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(returns) as returns,
        sum(net_product_sales) as net_product_sales,
        sum(service_charge) as service_charge,
        sum(net_sales) as net_sales,
        sum(tax_included) as tax_included,
        sum(tax_added) as tax_added,
        sum(tax_returned) as tax_returned,
        sum(tax) as tax,
        sum(tip) as tip,
        sum(gratuity) as gratuity,
        sum(gift_card_sold) as gift_card_sold,
        sum(donations) as donations,
        sum(rounding) as rounding,
        sum(refund_unitemised) as refund_unitemised,
        sum(total_collected) as total_collected,
        sum(void_amount) as void_amount,
        sum(void_count)::bigint as void_count,
        sum(open_sales) as open_sales
    from {{ ref('sum_sales_hour') }}
    group by location_id, business_date, currency

),

payments as (

    select
        location_id,
        business_date,
        currency,
        sum(collected) as payments_collected,
        sum(deposit) as deposits
    from {{ ref('fct_payment') }}
    group by location_id, business_date, currency

),

refunds as (

    select
        location_id,
        business_date,
        currency,
        count(*) as refund_count,
        sum(amount_refunded) as amount_refunded
    from {{ ref('fct_refund') }}
    group by location_id, business_date, currency

)

select
    location_id,
    business_date,
    currency,
    coalesce(days.order_count, 0) as order_count,
    days.covers,
    days.net_sales_with_covers,
    coalesce(days.gross_sales, 0) as gross_sales,
    coalesce(days.discount, 0) as discount,
    coalesce(days.comp, 0) as comp,
    coalesce(days.returns, 0) as returns,
    coalesce(days.net_product_sales, 0) as net_product_sales,
    coalesce(days.service_charge, 0) as service_charge,
    coalesce(days.net_sales, 0) as net_sales,
    coalesce(days.tax_included, 0) as tax_included,
    coalesce(days.tax_added, 0) as tax_added,
    coalesce(days.tax_returned, 0) as tax_returned,
    coalesce(days.tax, 0) as tax,
    days.tip,
    coalesce(days.gratuity, 0) as gratuity,
    coalesce(days.gift_card_sold, 0) as gift_card_sold,
    coalesce(days.donations, 0) as donations,
    coalesce(days.rounding, 0) as rounding,
    coalesce(days.refund_unitemised, 0) as refund_unitemised,
    coalesce(days.total_collected, 0) as total_collected,
    coalesce(payments.payments_collected, 0) as payments_collected,
    coalesce(refunds.amount_refunded, 0) as amount_refunded,
    coalesce(refunds.refund_count, 0) as refund_count,
    coalesce(payments.deposits, 0) as deposits,
    coalesce(days.void_amount, 0) as void_amount,
    coalesce(days.void_count, 0) as void_count,
    coalesce(days.open_sales, 0) as open_sales
from days
full join payments using (location_id, business_date, currency)
full join refunds using (location_id, business_date, currency)
