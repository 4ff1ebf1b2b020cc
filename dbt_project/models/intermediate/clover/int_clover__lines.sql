-- Lines, those that were taken off included, with discount and tax, in minor units, as Clover reckons them.
--
-- A line's price is multiplied by its quantity, rounded, and its modifications added. A percentage off the line is of that,
-- one off the order of what is left of all lines; several are added up, each rounded by itself, and what is more than
-- there is to pay is cut off. What is off the order is spread over its lines pro rata. The tax of an order is what its
-- payments say; until it is paid, and where they do not say, it follows from the rates, rounded for each. It is spread
-- over the lines by what they bear at their rates. What rounding leaves goes to the largest line. Where prices hold tax it is taken out.
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
        null as removed_by_key,
        lines.modifications,
        lines.discounts,
        lines.tax_rates
    from {{ ref('stg_clover__order_lines') }} as lines
    inner join {{ ref('int_clover__orders') }} as orders
        on lines.source_id = orders.source_id
        and lines.order_key = orders.order_key
        and lines.is_deleted = orders.is_from_deleted

),

all_lines as (

    select * from order_lines

    union all

    -- the lines of a deleted order are among these as well as on it
    select
        voided.source_id,
        voided.order_key,
        voided.line_key,
        voided.item_key,
        voided.item_name,
        null as line_number,
        voided.price_minor,
        voided.quantity,
        null as fee_rate,
        voided.is_revenue,
        false as is_order_fee,
        true as is_void,
        coalesce(voided.void_reason, 'voided') as void_reason,
        voided.removed_by_key,
        voided.modifications,
        null as discounts,
        voided.tax_rates
    from {{ ref('stg_clover__voided_lines') }} as voided
    left join order_lines
        on voided.source_id = order_lines.source_id
        and voided.order_key = order_lines.order_key
        and voided.line_key = order_lines.line_key
    where order_lines.line_key is null

),

priced as (

    select
        lines.*,
        orders.currency,
        orders.is_vat,
        orders.is_tax_removed,
        orders.discounts as order_discounts,
        case when orders.sale_status = 'completed' then orders.paid_tax_minor end as paid_tax_minor,
        not lines.is_void and not lines.is_order_fee as is_sold,
        round(coalesce(lines.price_minor * coalesce(lines.quantity, 1), 0))
        + (
            select coalesce(sum((modification.value ->> 'amount')::numeric), 0)
            from {{ elements('lines.modifications') }} as modification (value)
        ) as gross_minor,
        case
            when orders.is_tax_removed then 0
            else (
                select coalesce(sum((rate.value ->> 'rate')::numeric), 0) / 10000000
                from {{ elements('lines.tax_rates') }} as rate (value)
            )
        end as tax_rate,
        case
            when orders.is_tax_removed then 0
            else (
                select coalesce(sum((rate.value ->> 'taxAmount')::numeric), 0)
                from {{ elements('lines.tax_rates') }} as rate (value)
            )
        end as flat_tax_minor
    from all_lines as lines
    inner join {{ ref('int_clover__orders') }} as orders
        on lines.source_id = orders.source_id
        and lines.order_key = orders.order_key

),

with_own_discount as (

    select
        priced.*,
        case when priced.is_vat then priced.tax_rate else 0 end as included_rate,
        least(
            greatest(priced.gross_minor, 0),
            (
                select
                    coalesce(
                        sum(
                            coalesce(
                                -(discount.value ->> 'amount')::numeric,
                                round(
                                    priced.gross_minor * coalesce(
                                        (discount.value ->> 'percentageDecimal')::numeric / 1000000,
                                        (discount.value ->> 'percentage')::numeric / 100
                                    )
                                )
                            )
                        ),
                        0
                    )
                from {{ elements('priced.discounts') }} as discount (value)
            )
        ) as own_discount_minor
    from priced

),

with_subtotal as (

    select
        *,
        case when is_sold then gross_minor - own_discount_minor else 0 end as left_minor,
        sum(case when is_sold then gross_minor - own_discount_minor else 0 end) over (
            partition by source_id, order_key
        ) as subtotal_minor
    from with_own_discount

),

with_discount_of_order as (

    select
        with_subtotal.*,
        case
            when with_subtotal.subtotal_minor > 0
                then
                    least(
                        with_subtotal.subtotal_minor,
                        (
                            select
                                coalesce(
                                    sum(
                                        coalesce(
                                            -(discount.value ->> 'amount')::numeric,
                                            round(
                                                with_subtotal.subtotal_minor * coalesce(
                                                    (discount.value ->> 'percentageDecimal')::numeric / 1000000,
                                                    (discount.value ->> 'percentage')::numeric / 100
                                                )
                                            )
                                        )
                                    ),
                                    0
                                )
                            from {{ elements('with_subtotal.order_discounts') }} as discount (value)
                        )
                    )
            else 0
        end as discount_of_order_minor,
        row_number() over (
            partition by with_subtotal.source_id, with_subtotal.order_key
            order by with_subtotal.left_minor desc, with_subtotal.line_key
        ) as place
    from with_subtotal

),

with_share as (

    select
        *,
        coalesce(round(discount_of_order_minor * left_minor / nullif(subtotal_minor, 0)), 0) as rounded_share_minor
    from with_discount_of_order

),

discounted as (

    select
        *,
        rounded_share_minor
        + case
            when place = 1
                then
                    discount_of_order_minor
                    - sum(rounded_share_minor) over (partition by source_id, order_key)
            else 0
        end as order_discount_minor
    from with_share

),

weighed as (

    select
        *,
        gross_minor - own_discount_minor - order_discount_minor as paid_minor,
        case
            when is_sold or is_vat
                then
                    (gross_minor - own_discount_minor - order_discount_minor) * tax_rate / (1 + included_rate)
                    + flat_tax_minor
            else 0
        end as tax_weight
    from discounted

),

taxes_by_rate as (

    select
        weighed.source_id,
        weighed.order_key,
        round(
            sum(
                weighed.paid_minor * coalesce((rate.value ->> 'rate')::numeric, 0) / 10000000
                / (1 + weighed.included_rate)
                + coalesce((rate.value ->> 'taxAmount')::numeric, 0)
            )
        ) as tax_minor
    from weighed
    cross join lateral {{ elements('weighed.tax_rates') }} as rate (value)
    where weighed.is_sold and not weighed.is_tax_removed and weighed.paid_tax_minor is null
    group by weighed.source_id, weighed.order_key, rate.value ->> 'id'

),

taxes_by_order as (

    select
        source_id,
        order_key,
        sum(tax_minor) as tax_minor
    from taxes_by_rate
    group by source_id, order_key

),

with_order_tax as (

    select
        weighed.*,
        sum(case when weighed.is_sold then weighed.tax_weight else 0 end) over (
            partition by weighed.source_id, weighed.order_key
        ) as order_tax_weight,
        coalesce(weighed.paid_tax_minor, taxes_by_order.tax_minor, 0) as order_tax_minor
    from weighed
    left join taxes_by_order
        on weighed.source_id = taxes_by_order.source_id
        and weighed.order_key = taxes_by_order.order_key

),

with_rounded_tax as (

    select
        *,
        case
            when is_sold then coalesce(round(order_tax_minor * tax_weight / nullif(order_tax_weight, 0)), 0)
            else round(tax_weight)
        end as rounded_tax_minor,
        row_number() over (
            partition by source_id, order_key
            order by is_sold desc, tax_weight desc, line_key
        ) as tax_place
    from with_order_tax

),

taxed as (

    select
        *,
        rounded_tax_minor
        + case
            when tax_place = 1 and order_tax_weight <> 0
                then
                    order_tax_minor
                    - sum(case when is_sold then rounded_tax_minor else 0 end) over (partition by source_id, order_key)
            else 0
        end as tax_minor,
        round(own_discount_minor / (1 + included_rate)) as own_discount_before_tax_minor,
        round(order_discount_minor / (1 + included_rate)) as order_discount_before_tax_minor
    from with_rounded_tax

)

select
    source_id,
    order_key,
    line_key,
    item_key,
    item_name,
    line_number,
    removed_by_key,
    currency,
    quantity,
    price_minor,
    fee_rate,
    is_revenue,
    is_order_fee,
    is_sold,
    is_void,
    void_reason,
    modifications,
    discounts,
    order_discounts,
    included_rate,
    gross_minor,
    paid_minor,
    subtotal_minor,
    order_tax_minor,
    tax_minor,
    own_discount_before_tax_minor,
    order_discount_before_tax_minor,
    case when is_vat then tax_minor else 0 end as tax_included_minor,
    case when is_vat then 0 else tax_minor end as tax_added_minor,
    -- worth of the line without tax: what is paid for it, and with its modifications before discounts
    paid_minor - case when is_vat then tax_minor else 0 end as net_minor,
    paid_minor - case when is_vat then tax_minor else 0 end
    + own_discount_before_tax_minor + order_discount_before_tax_minor as amount_minor
from taxed
