-- Orders with what is said elsewhere: whether they were deleted, what was paid, the currency. Of a deleted order the state
-- before counts, where it was seen. Orders in test mode, and those that Clover makes to hold a manual refund, are no sales.
with live as (

    select * from {{ ref('stg_clover__orders') }}
    where not is_deleted

),

deleted as (

    select * from {{ ref('stg_clover__orders') }}
    where is_deleted

),

orders as (

    select
        live.*,
        deleted.order_key is not null as was_deleted
    from live
    left join deleted
        on live.source_id = deleted.source_id
        and live.order_key = deleted.order_key

    union all

    select
        deleted.*,
        true as was_deleted
    from deleted
    left join live
        on deleted.source_id = live.source_id
        and deleted.order_key = live.order_key
    where live.order_key is null

),

paid as (

    select
        source_id,
        order_key,
        sum(amount_minor) filter (where is_taken) as amount_minor,
        sum(tip_minor) filter (where is_taken) as tip_minor,
        sum(tax_minor) filter (where is_taken) as tax_minor,
        sum(service_charge_minor) filter (where is_taken) as service_charge_minor,
        max(paid_at) filter (where is_taken) as paid_at
    from {{ ref('stg_clover__payments') }}
    group by source_id, order_key

)

select
    orders.source_id,
    orders.order_key,
    orders.location_key,
    orders.employee_key,
    orders.device_key,
    orders.payment_state,
    orders.order_number,
    orders.order_type,
    orders.system_order_type,
    orders.total_minor,
    orders.service_charge_rate,
    orders.is_deleted as is_from_deleted,
    orders.is_vat,
    orders.is_tax_removed,
    orders.is_gratuity,
    orders.created_at,
    orders.modified_at,
    orders.discounts,
    paid.tip_minor as paid_tip_minor,
    paid.tax_minor as paid_tax_minor,
    paid.service_charge_minor as paid_service_charge_minor,
    paid.paid_at,
    case
        when orders.was_deleted then 'void'
        when orders.payment_state in ('OPEN', 'PARTIALLY_PAID') then 'open'
        when orders.payment_state is not null or orders.order_state = 'locked' then 'completed'
        when paid.amount_minor >= orders.total_minor then 'completed'  -- before Clover told of a payment state
        else 'open'
    end as sale_status,
    coalesce(orders.currency, sites.currency, businesses.reporting_currency) as currency
from orders
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('orders.source_id') }} = businesses.business_id
left join {{ ref('int_site_currencies') }} as sites
    on orders.source_id = sites.source_id
    and orders.location_key = sites.location_key
left join paid
    on orders.source_id = paid.source_id
    and orders.order_key = paid.order_key
where
    not orders.is_test
    and not (orders.payment_state is not distinct from 'CREDITED' and paid.paid_at is null)
