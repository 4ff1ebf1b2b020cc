-- Lines, those that were taken off included, with what they cost before discounts and the tax rate that applies, in minor
-- units. Clover multiplies by the quantity, rounds, and adds the modifications.
with order_lines as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        lines.item_key,
        lines.item_name,
        lines.line_number,
        lines.price_minor,
        lines.quantity,
        lines.fee_rate,
        lines.is_revenue,
        lines.is_order_fee,
        lines.is_exchanged as is_void,
        case when lines.is_exchanged then 'exchanged' end as void_reason,
        lines.modifications,
        lines.discounts,
        lines.tax_rates
    from {{ ref('stg_clover__order_lines') }} as lines
    inner join {{ ref('int_clover__orders') }} as orders
        on lines.source_id = orders.source_id
        and lines.order_key = orders.order_key
        and lines.is_deleted = orders.is_from_deleted

),

-- The lines of a deleted order are among the voided ones as well as on it.
taken_off as (

    select voided.*
    from {{ ref('stg_clover__voided_lines') }} as voided
    inner join {{ ref('int_clover__orders') }} as orders
        on voided.source_id = orders.source_id
        and voided.order_key = orders.order_key
    left join order_lines
        on voided.source_id = order_lines.source_id
        and voided.order_key = order_lines.order_key
        and voided.line_key = order_lines.line_key
    where order_lines.line_key is null

),

lines as (

    select * from order_lines

    union all

    select
        source_id,
        order_key,
        line_key,
        item_key,
        item_name,
        null as line_number,
        price_minor,
        quantity,
        null as fee_rate,
        is_revenue,
        false as is_order_fee,
        true as is_void,
        coalesce(void_reason, 'voided') as void_reason,
        modifications,
        null as discounts,
        tax_rates
    from taken_off

),

modified as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        sum((modification.value ->> 'amount')::numeric) as amount_minor
    from lines
    cross join lateral {{ elements('lines.modifications') }} as modification (value)
    group by lines.source_id, lines.order_key, lines.line_key

),

taxed as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        sum((rate.value ->> 'rate')::numeric) / 10000000 as rate,
        sum((rate.value ->> 'taxAmount')::numeric) as flat_minor
    from lines
    cross join lateral {{ elements('lines.tax_rates') }} as rate (value)
    group by lines.source_id, lines.order_key, lines.line_key

)

select
    lines.source_id,
    lines.order_key,
    lines.line_key,
    lines.item_key,
    lines.item_name,
    lines.line_number,
    lines.price_minor,
    coalesce(lines.quantity, 1) as quantity,
    lines.fee_rate,
    lines.is_revenue,
    lines.is_order_fee,
    lines.is_void,
    lines.void_reason,
    lines.modifications,
    lines.discounts,
    not lines.is_void and not lines.is_order_fee as is_sold,
    orders.currency,
    orders.is_vat,
    round(coalesce(lines.price_minor, 0) * coalesce(lines.quantity, 1))
    + coalesce(modified.amount_minor, 0) as gross_minor,
    case when orders.is_tax_removed then 0 else coalesce(taxed.rate, 0) end as tax_rate,
    case when orders.is_tax_removed then 0 else coalesce(taxed.flat_minor, 0) end as flat_tax_minor,
    -- the rates of the prices' tax, where it is inside them
    case when orders.is_vat and not orders.is_tax_removed then coalesce(taxed.rate, 0) else 0 end as included_rate
from lines
inner join {{ ref('int_clover__orders') }} as orders
    on lines.source_id = orders.source_id
    and lines.order_key = orders.order_key
left join modified
    on lines.source_id = modified.source_id
    and lines.order_key = modified.order_key
    and lines.line_key = modified.line_key
left join taxed
    on lines.source_id = taxed.source_id
    and lines.order_key = taxed.order_key
    and lines.line_key = taxed.line_key
