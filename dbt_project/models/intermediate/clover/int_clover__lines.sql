-- Lines with their part of the order's tax and their amounts before tax, in minor units. The tax of an order is what its
-- payments say; until it is paid, and where they do not say, it follows from the rates. It is spread over the lines by
-- what they bear at their rates, the remainder on the largest. Where prices hold tax it is taken out of them.
with discounts as (

    select
        discounts.source_id,
        discounts.order_key,
        discounts.line_key,
        sum(discounts.amount_minor) as discount_minor,
        sum(round(discounts.amount_minor / (1 + lines.included_rate))) as discount_before_tax_minor
    from {{ ref('int_clover__line_discounts') }} as discounts
    inner join {{ ref('int_clover__line_prices') }} as lines
        on discounts.source_id = lines.source_id
        and discounts.order_key = lines.order_key
        and discounts.line_key = lines.line_key
    group by discounts.source_id, discounts.order_key, discounts.line_key

),

lines as (

    select
        lines.*,
        coalesce(discounts.discount_before_tax_minor, 0) as discount_minor,
        lines.gross_minor - coalesce(discounts.discount_minor, 0) as paid_minor
    from {{ ref('int_clover__line_prices') }} as lines
    left join discounts
        on lines.source_id = discounts.source_id
        and lines.order_key = discounts.order_key
        and lines.line_key = discounts.line_key
    where not lines.is_order_fee

),

weighed as (

    select
        *,
        paid_minor * tax_rate / (1 + included_rate) + flat_tax_minor as tax_weight,
        case
            when is_sold then paid_minor * tax_rate / (1 + included_rate) + flat_tax_minor
            else 0
        end as sold_tax_weight
    from lines

),

taxed as (

    select
        weighed.*,
        sum(weighed.sold_tax_weight) over (partition by weighed.source_id, weighed.order_key) as order_tax_weight,
        coalesce(
            case when orders.sale_status = 'completed' then orders.paid_tax_minor end,
            round(sum(weighed.sold_tax_weight) over (partition by weighed.source_id, weighed.order_key))
        ) as order_tax_minor
    from weighed
    inner join {{ ref('int_clover__orders') }} as orders
        on weighed.source_id = orders.source_id
        and weighed.order_key = orders.order_key

),

rounded_taxes as (

    select
        *,
        case
            when is_sold then coalesce(round(order_tax_minor * sold_tax_weight / nullif(order_tax_weight, 0)), 0)
            when is_vat then round(tax_weight)
            else 0
        end as rounded_tax_minor,
        row_number() over (
            partition by source_id, order_key
            order by sold_tax_weight desc, line_key
        ) as place
    from taxed

),

with_tax as (

    select
        *,
        rounded_tax_minor
        + case
            when place = 1 and order_tax_weight > 0
                then
                    order_tax_minor
                    - sum(case when is_sold then rounded_tax_minor else 0 end) over (
                        partition by source_id, order_key
                    )
            else 0
        end as tax_minor
    from rounded_taxes

)

select
    source_id,
    order_key,
    line_key,
    item_key,
    item_name,
    line_number,
    currency,
    quantity,
    price_minor,
    is_revenue,
    is_sold,
    is_void,
    void_reason,
    modifications,
    included_rate,
    order_tax_minor,
    discount_minor,
    tax_minor,
    case when is_vat then tax_minor else 0 end as tax_included_minor,
    case when is_vat then 0 else tax_minor end as tax_added_minor,
    -- worth with modifications, before discount, without tax
    paid_minor - case when is_vat then tax_minor else 0 end + discount_minor as amount_minor
from with_tax
