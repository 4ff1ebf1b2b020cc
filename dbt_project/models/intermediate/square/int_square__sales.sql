-- An order that only returns is a refund (int_square__refunds); every other one is a sale, an exchange is both.
with orders as (

    select * from {{ ref('stg_square__orders') }}
    where
        (has_lines or has_service_charges or not has_returns)
        and order_state in ('COMPLETED', 'OPEN', 'CANCELED')

),

service_charges as (

    select
        source_id,
        order_key,
        sum(total - tax) filter (where charge_type is distinct from 'AUTO_GRATUITY') as service_charge,
        sum(total - tax) filter (where charge_type = 'AUTO_GRATUITY') as gratuity
    from {{ ref('stg_square__order_service_charges') }}
    group by source_id, order_key

),

-- A Square order does not say who took it; its payments say who was at the till: the first that does counts.
cashiers as (

    select
        source_id,
        order_key,
        (array_agg(employee_key order by created_at, payment_key))[1] as employee_key
    from {{ ref('stg_square__payments') }}
    where employee_key is not null
    group by source_id, order_key

)

select
    orders.source_id,
    orders.order_key as natural_key,
    orders.location_key,
    orders.order_number,
    case orders.order_state
        when 'COMPLETED' then 'completed'
        when 'OPEN' then 'open'
        when 'CANCELED' then 'void'
    end as sale_status,
    case orders.fulfillment_type
        when 'PICKUP' then 'online_pickup'
        when 'DELIVERY' then 'own_delivery'
        when 'DINE_IN' then 'dine_in'
        else 'unknown'
    end as channel,
    orders.fulfillment_type as vendor_channel,
    orders.till_name,
    cashiers.employee_key,
    orders.currency,
    null as vendor_business_date,
    orders.created_at as opened_at,
    orders.closed_at,
    coalesce(orders.closed_at, orders.created_at) as counted_at,
    null as covers,
    coalesce(service_charges.service_charge, 0) as service_charge,
    coalesce(service_charges.gratuity, 0) as gratuity,
    coalesce(orders.tax, 0) as tax,
    case
        when orders.is_cash_without_tips and coalesce(orders.tip, 0) = 0 then null
        else coalesce(orders.tip, 0)
    end as tip,
    coalesce(orders.rounding, 0) as rounding,
    orders.total as vendor_total
from orders
left join service_charges
    on orders.source_id = service_charges.source_id
    and orders.order_key = service_charges.order_key
left join cashiers
    on orders.source_id = cashiers.source_id
    and orders.order_key = cashiers.order_key
