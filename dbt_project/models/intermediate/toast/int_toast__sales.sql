with checks as (

    select
        source_id,
        order_key,
        min(currency) as currency,
        bool_and(is_void) as is_void,
        sum(tax) filter (where not is_void) as tax,
        sum(total) filter (where not is_void) as total
    from {{ ref('int_toast__checks') }}
    group by source_id, order_key

),

service_charges as (

    select
        charges.source_id,
        charges.order_key,
        sum(charges.amount) filter (where not charges.is_gratuity) as service_charge,
        sum(charges.amount) filter (where charges.is_gratuity) as gratuity
    from {{ ref('stg_toast__service_charges') }} as charges
    inner join {{ ref('int_toast__checks') }} as live_checks
        on charges.source_id = live_checks.source_id
        and charges.order_key = live_checks.order_key
        and charges.check_key = live_checks.check_key
    where not live_checks.is_void
    group by charges.source_id, charges.order_key

),

tips as (

    select
        source_id,
        sale_key,
        sum(tip) filter (where payment_status = 'completed') as tip
    from {{ ref('int_toast__payments') }}
    group by source_id, sale_key

)

select
    orders.source_id,
    orders.order_key as natural_key,
    orders.location_key,
    orders.order_number,
    case
        when checks.is_void then 'void'
        when orders.closed_at is null and orders.paid_at is null then 'open'
        else 'completed'
    end as sale_status,
    case
        when orders.is_delivery then 'own_delivery'
        when orders.is_at_table then 'dine_in'
        when orders.order_source = 'Online' then 'online_pickup'
        else 'unknown'
    end as channel,
    orders.order_source as vendor_channel,
    null as till_name,
    orders.employee_key,
    checks.currency,
    orders.business_date as vendor_business_date,
    orders.opened_at,
    coalesce(orders.closed_at, orders.paid_at) as closed_at,
    coalesce(orders.closed_at, orders.paid_at, orders.opened_at) as counted_at,
    nullif(orders.guests, 0) as covers,
    coalesce(service_charges.service_charge, 0) as service_charge,
    coalesce(service_charges.gratuity, 0) as gratuity,
    coalesce(checks.tax, 0) as tax,
    tips.tip,
    0 as rounding,
    checks.total as vendor_total
from {{ ref('stg_toast__orders') }} as orders
inner join checks
    on orders.source_id = checks.source_id
    and orders.order_key = checks.order_key
left join service_charges
    on orders.source_id = service_charges.source_id
    and orders.order_key = service_charges.order_key
left join tips
    on orders.source_id = tips.source_id
    and orders.order_key = tips.sale_key
