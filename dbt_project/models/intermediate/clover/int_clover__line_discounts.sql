-- One row per line and discount, in minor units. A percentage of a line is of its price with modifications; one of the
-- order is of what is left after the lines' own discounts. Several are added up, each rounded by itself, and what is more
-- than there is to pay is cut off. Those of the order are spread over its lines pro rata, the remainder on the largest.
with lines as (

    select * from {{ ref('int_clover__line_prices') }}

),

asked_on_lines as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        discount.value ->> 'id' as applied_key,
        discount.value #>> '{discount,id}' as discount_key,
        discount.value ->> 'name' as discount_name,
        discount.value #>> '{approver,id}' as approver_key,
        discount.value ->> 'amount' is null as is_percentage,
        discount.position,
        lines.gross_minor as base_minor,
        coalesce(
            -(discount.value ->> 'amount')::numeric,
            round(
                lines.gross_minor
                * coalesce(
                    (discount.value ->> 'percentageDecimal')::numeric / 1000000,
                    (discount.value ->> 'percentage')::numeric / 100
                )
            ),
            0
        ) as asked_minor
    from lines
    cross join lateral {{ elements('lines.discounts') }} with ordinality as discount (value, position)
    where lines.gross_minor > 0

),

added_up_on_lines as (

    select
        *,
        sum(asked_minor) over (
            partition by source_id, order_key, line_key
            order by position rows unbounded preceding
        ) as running_minor
    from asked_on_lines

),

of_lines as (

    select
        *,
        least(base_minor, running_minor) - least(base_minor, running_minor - asked_minor) as amount_minor
    from added_up_on_lines

),

left_after_own as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        lines.gross_minor - coalesce(sum(of_lines.amount_minor), 0) as left_minor
    from lines
    left join of_lines
        on lines.source_id = of_lines.source_id
        and lines.order_key = of_lines.order_key
        and lines.line_key = of_lines.line_key
    where lines.is_sold
    group by lines.source_id, lines.order_key, lines.line_key, lines.gross_minor

),

subtotals as (

    select
        source_id,
        order_key,
        sum(left_minor) as subtotal_minor
    from left_after_own
    group by source_id, order_key

),

asked_on_orders as (

    select
        orders.source_id,
        orders.order_key,
        discount.value ->> 'id' as applied_key,
        discount.value #>> '{discount,id}' as discount_key,
        discount.value ->> 'name' as discount_name,
        discount.value #>> '{approver,id}' as approver_key,
        discount.value ->> 'amount' is null as is_percentage,
        discount.position,
        subtotals.subtotal_minor as base_minor,
        coalesce(
            -(discount.value ->> 'amount')::numeric,
            round(
                subtotals.subtotal_minor
                * coalesce(
                    (discount.value ->> 'percentageDecimal')::numeric / 1000000,
                    (discount.value ->> 'percentage')::numeric / 100
                )
            ),
            0
        ) as asked_minor
    from {{ ref('int_clover__orders') }} as orders
    inner join subtotals
        on orders.source_id = subtotals.source_id
        and orders.order_key = subtotals.order_key
    cross join lateral {{ elements('orders.discounts') }} with ordinality as discount (value, position)
    where subtotals.subtotal_minor > 0

),

on_orders as (

    select
        *,
        sum(asked_minor) over (
            partition by source_id, order_key
            order by position rows unbounded preceding
        ) as running_minor
    from asked_on_orders

),

shares as (

    select
        on_orders.*,
        left_after_own.line_key,
        left_after_own.left_minor,
        least(on_orders.base_minor, on_orders.running_minor)
        - least(on_orders.base_minor, on_orders.running_minor - on_orders.asked_minor) as whole_minor
    from on_orders
    inner join left_after_own
        on on_orders.source_id = left_after_own.source_id
        and on_orders.order_key = left_after_own.order_key

),

rounded_shares as (

    select
        *,
        round(whole_minor * left_minor / base_minor) as share_minor,
        row_number() over (
            partition by source_id, order_key, applied_key
            order by left_minor desc, line_key
        ) as place
    from shares

),

of_orders as (

    select
        *,
        share_minor
        + case
            when place = 1
                then whole_minor - sum(share_minor) over (partition by source_id, order_key, applied_key)
            else 0
        end as amount_minor
    from rounded_shares

),

all_discounts as (

    select
        source_id,
        order_key,
        line_key,
        applied_key,
        discount_key,
        discount_name,
        approver_key,
        is_percentage,
        'line' as discount_scope,
        amount_minor
    from of_lines

    union all

    select
        source_id,
        order_key,
        line_key,
        applied_key,
        discount_key,
        discount_name,
        approver_key,
        is_percentage,
        'order' as discount_scope,
        amount_minor
    from of_orders

)

select * from all_discounts
where amount_minor <> 0
