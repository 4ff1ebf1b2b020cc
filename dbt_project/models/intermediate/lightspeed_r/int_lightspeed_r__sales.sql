-- A sale that only takes goods back is a refund.
with lines as (

    select
        source_id,
        order_key,
        bool_or(is_return) as has_returns,
        bool_or(not is_return) as has_sales,
        sum(tax) filter (where not is_return) as tax
    from {{ ref('int_lightspeed_r__lines') }}
    group by source_id, order_key

),

tenders as (

    select
        source_id,
        order_key,
        bool_or(tender_use = 'deposit') as has_deposits,
        -sum(amount) filter (where tender_use = 'deposit') as deposit,
        sum(tip) filter (where tender_use = 'payment') as tip,
        bool_and(payment_type = 'cash') filter (where tender_use = 'payment') as is_cash
    from {{ ref('int_lightspeed_r__tenders') }}
    where not is_void
    group by source_id, order_key

)

select
    orders.source_id,
    orders.order_key as natural_key,
    orders.location_key,
    orders.ticket_number as order_number,
    case when orders.is_void then 'void' else 'completed' end as sale_status,
    'unknown' as channel,
    orders.reference_source as vendor_channel,
    null as till_name,
    orders.employee_key,
    orders.currency,
    null as vendor_business_date,
    orders.created_at as opened_at,
    orders.completed_at as closed_at,
    orders.completed_at as counted_at,
    null as covers,
    0 as service_charge,
    0 as gratuity,
    coalesce(lines.tax, 0) as tax,
    -- nobody records a cash tip: unknown
    case when tenders.is_cash then nullif(tenders.tip, 0) else coalesce(tenders.tip, 0) end as tip,
    0 as rounding,
    case
        when not coalesce(lines.has_returns, false)
            then orders.total + coalesce(tenders.deposit, 0) + coalesce(tenders.tip, 0)
    end as vendor_total
from {{ ref('int_lightspeed_r__orders') }} as orders
left join lines
    on orders.source_id = lines.source_id
    and orders.order_key = lines.order_key
left join tenders
    on orders.source_id = tenders.source_id
    and orders.order_key = tenders.order_key
where not coalesce(lines.has_returns, false) or lines.has_sales or tenders.has_deposits
