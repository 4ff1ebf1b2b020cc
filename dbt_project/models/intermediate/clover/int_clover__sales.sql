with subtotals as (

    select
        source_id,
        order_key,
        -- what the guest pays for the lines: the base of service charges and of fees in percent
        sum(amount_minor - discount_minor + tax_included_minor) filter (where is_sold) as subtotal_minor,
        max(order_tax_minor) as tax_minor
    from {{ ref('int_clover__lines') }}
    group by source_id, order_key

),

fees as (

    select
        lines.source_id,
        lines.order_key,
        sum(
            case
                when lines.fee_rate is null then lines.gross_minor
                else round(lines.fee_rate * coalesce(subtotals.subtotal_minor, 0))
            end
        ) as fee_minor
    from {{ ref('int_clover__line_prices') }} as lines
    left join subtotals
        on lines.source_id = subtotals.source_id
        and lines.order_key = subtotals.order_key
    where lines.is_order_fee and not lines.is_void
    group by lines.source_id, lines.order_key

),

charged as (

    select
        orders.*,
        coalesce(fees.fee_minor, 0) as fee_minor,
        coalesce(
            case when orders.sale_status = 'completed' then orders.paid_service_charge_minor end,
            round(orders.service_charge_rate * subtotals.subtotal_minor),
            0
        ) as charge_minor,
        case
            when orders.sale_status = 'completed'
                then coalesce(orders.paid_tax_minor, subtotals.tax_minor, 0)
            else coalesce(subtotals.tax_minor, 0)
        end as tax_minor,
        {{ by_minor_digits('orders.currency', '1', '0.01', '0.001') }} as unit
    from {{ ref('int_clover__orders') }} as orders
    left join subtotals
        on orders.source_id = subtotals.source_id
        and orders.order_key = subtotals.order_key
    left join fees
        on orders.source_id = fees.source_id
        and orders.order_key = fees.order_key

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
