with lines as (

    select
        source_id,
        order_key,
        -- what the guest pays for the lines: service charges and fees in percent are of that
        coalesce(sum(paid_minor) filter (where is_sold), 0) as subtotal_minor,
        max(order_tax_minor) as tax_minor,
        coalesce(sum(gross_minor) filter (where is_order_fee and not is_void and fee_rate is null), 0) as fees_minor,
        coalesce(sum(fee_rate) filter (where is_order_fee and not is_void), 0) as fees_rate
    from {{ ref('int_clover__lines') }}
    group by source_id, order_key

),

charged as (

    select
        orders.*,
        coalesce(lines.fees_minor + round(lines.fees_rate * lines.subtotal_minor), 0) as fee_minor,
        coalesce(
            case when orders.sale_status = 'completed' then orders.paid_service_charge_minor end,
            round(orders.service_charge_rate * lines.subtotal_minor),
            0
        ) as charge_minor,
        case
            when orders.sale_status = 'completed'
                then coalesce(orders.paid_tax_minor, lines.tax_minor, 0)
            else coalesce(lines.tax_minor, 0)
        end as tax_minor,
        {{ by_minor_digits('orders.currency', '1', '0.01', '0.001') }} as unit
    from {{ ref('int_clover__orders') }} as orders
    left join lines
        on orders.source_id = lines.source_id
        and orders.order_key = lines.order_key

)

select
    source_id,
    order_key as natural_key,
    location_key,
    order_number,
    sale_status,
    case system_order_type
        when 'DINE-IN-TYPE' then 'dine_in'
        when 'TAKE-OUT-TYPE' then 'takeaway'
        when 'DELIVERY-TYPE' then 'own_delivery'
        when 'PICKUP-TYPE' then 'online_pickup'
        else 'unknown'
    end as channel,
    order_type as vendor_channel,
    device_key as till_name,
    employee_key,
    currency,
    null as vendor_business_date,
    created_at as opened_at,
    -- Clover does not say when an order was closed: when it was paid, or last changed if there was nothing to pay
    case when sale_status = 'completed' then coalesce(paid_at, modified_at) end as closed_at,
    case when sale_status = 'completed' then coalesce(paid_at, created_at) else created_at end as counted_at,
    null as covers,
    (case when is_gratuity then 0 else charge_minor end + fee_minor) * unit as service_charge,
    case when is_gratuity then charge_minor else 0 end * unit as gratuity,
    tax_minor * unit as tax,
    paid_tip_minor * unit as tip,
    0 as rounding,
    -- whether Clover takes what was refunded off an order's total is not documented
    case
        when coalesce(payment_state, '') not in ('REFUNDED', 'PARTIALLY_REFUNDED', 'MANUALLY_REFUNDED')
            then (total_minor + coalesce(paid_tip_minor, 0)) * unit
    end as vendor_total
from charged
