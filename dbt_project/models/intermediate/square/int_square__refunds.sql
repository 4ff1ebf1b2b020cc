-- A return is an order of its own; the money given back is a refund object that refers to it. With its return order there,
-- a pending refund counts: it only waits for the bank. Money whose return order is not there (yet) is an amount-only
-- refund once it has gone.
with return_orders as (

    select * from {{ ref('stg_square__orders') }}
    where has_returns and order_state = 'COMPLETED'

),

returns as (

    select
        source_id,
        order_key,
        min(source_order_key) as sale_key,
        sum(rounding) as rounding
    from {{ ref('stg_square__order_returns') }}
    group by source_id, order_key

),

itemised as (

    select
        source_id,
        refund_key as order_key,
        sum(amount) filter (where line_type not in ('gift_card', 'donation')) as returns,
        sum(amount) filter (where line_type = 'gift_card') as gift_card,
        sum(amount) filter (where line_type = 'donation') as donations,
        sum(tax) as tax
    from {{ ref('int_square__refund_items') }}
    group by source_id, refund_key

),

unitemised as (

    select
        source_id,
        order_key,
        sum(total) as amount
    from {{ ref('stg_square__order_return_lines') }}
    where item_type = 'CUSTOM_AMOUNT' and source_line_uid is null
    group by source_id, order_key

),

charges as (

    select
        returned.source_id,
        returned.order_key,
        sum(returned.total - returned.tax) filter (
            where sold.charge_type is distinct from 'AUTO_GRATUITY'
        ) as service_charge,
        sum(returned.total - returned.tax) filter (where sold.charge_type = 'AUTO_GRATUITY') as gratuity,
        sum(returned.tax) as tax
    from {{ ref('stg_square__order_return_charges') }} as returned
    left join {{ ref('stg_square__order_service_charges') }} as sold
        on returned.source_id = sold.source_id
        and returned.source_order_key = sold.order_key
        and returned.source_charge_uid = sold.charge_uid
    group by returned.source_id, returned.order_key

),

tips as (

    select
        source_id,
        order_key,
        sum(tip) as tip
    from {{ ref('stg_square__order_return_tips') }}
    group by source_id, order_key

),

money as (

    select
        refunds.source_id,
        coalesce(return_orders.order_key, refunds.refund_key) as natural_key,
        min(refunds.order_key) as order_key,
        min(refunds.location_key) as location_key,
        min(refunds.payment_key) as payment_key,
        min(refunds.currency) as currency,
        min(refunds.created_at) as refunded_at,
        min(refunds.reason) as reason,
        min(refunds.employee_key) as employee_key,
        sum(refunds.amount) as amount
    from {{ ref('stg_square__refunds') }} as refunds
    left join return_orders
        on refunds.source_id = return_orders.source_id
        and refunds.order_key = return_orders.order_key
    where
        refunds.refund_status = 'COMPLETED'
        or (refunds.refund_status = 'PENDING' and return_orders.order_key is not null)
    group by refunds.source_id, coalesce(return_orders.order_key, refunds.refund_key)

)

select
    coalesce(return_orders.source_id, money.source_id) as source_id,
    coalesce(return_orders.order_key, money.natural_key) as natural_key,
    case when return_orders.order_key is null then money.order_key else returns.sale_key end as sale_key,
    money.payment_key,
    coalesce(return_orders.location_key, money.location_key) as location_key,
    coalesce(return_orders.currency, money.currency) as currency,
    null as vendor_business_date,
    coalesce(return_orders.closed_at, return_orders.created_at, money.refunded_at) as refunded_at,
    money.reason,
    money.employee_key,
    coalesce(itemised.returns, 0) as returns,
    case
        when return_orders.order_key is null then money.amount
        else coalesce(unitemised.amount, 0)
    end as refund_unitemised,
    coalesce(itemised.tax, 0) + coalesce(charges.tax, 0) as tax_returned,
    coalesce(tips.tip, 0) as tip_returned,
    coalesce(charges.service_charge, 0) as service_charge_returned,
    coalesce(charges.gratuity, 0) as gratuity_returned,
    coalesce(itemised.gift_card, 0) as gift_card_returned,
    coalesce(itemised.donations, 0) as donations_returned,
    coalesce(returns.rounding, 0) as rounding_returned,
    coalesce(money.amount, 0) as amount_refunded
from return_orders
full join money
    on return_orders.source_id = money.source_id
    and return_orders.order_key = money.natural_key
left join returns
    on return_orders.source_id = returns.source_id
    and return_orders.order_key = returns.order_key
left join itemised
    on return_orders.source_id = itemised.source_id
    and return_orders.order_key = itemised.order_key
left join unitemised
    on return_orders.source_id = unitemised.source_id
    and return_orders.order_key = unitemised.order_key
left join charges
    on return_orders.source_id = charges.source_id
    and return_orders.order_key = charges.order_key
left join tips
    on return_orders.source_id = tips.source_id
    and return_orders.order_key = tips.order_key
