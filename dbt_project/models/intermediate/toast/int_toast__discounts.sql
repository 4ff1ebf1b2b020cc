-- One row per discount and line. A discount on a selection is given on it; one on the whole check is already in the
-- lines' prices: what a line lost beyond its own discounts is shared out to the check's discounts by their amounts, by
-- differences of a rounded running total, so that the parts add up.
with lines as (

    select
        sale_items.source_id,
        sale_items.natural_key,
        sale_items.sale_key,
        sale_items.currency,
        sale_items.discount,
        selections.check_key,
        selections.applied_discounts
    from {{ ref('int_toast__sale_items') }} as sale_items
    inner join {{ ref('stg_toast__selections') }} as selections
        on sale_items.source_id = selections.source_id
        and sale_items.sale_key = selections.order_key
        and sale_items.natural_key = selections.order_key || '|' || selections.selection_key
    where sale_items.discount <> 0

),

of_lines as (

    select
        lines.source_id,
        lines.natural_key || '|' || (discount.value ->> 'guid') as natural_key,
        lines.sale_key,
        lines.natural_key as sale_item_key,
        discount.value #>> '{discount,guid}' as discount_key,
        discount.value ->> 'name' as discount_name,
        lower(discount.value ->> 'discountType') as discount_type,
        'line' as discount_scope,
        lines.currency,
        coalesce((discount.value ->> 'nonTaxDiscountAmount')::numeric, (discount.value ->> 'discountAmount')::numeric, 0) as amount
    from lines
    cross join lateral {{ json_elements('lines.applied_discounts') }} as discount (value)

),

left_over as (

    select
        lines.source_id,
        lines.sale_key,
        lines.natural_key,
        lines.check_key,
        lines.currency,
        lines.discount - coalesce(sum(of_lines.amount), 0) as amount
    from lines
    left join of_lines
        on lines.source_id = of_lines.source_id
        and lines.natural_key = of_lines.sale_item_key
    group by lines.source_id, lines.sale_key, lines.natural_key, lines.check_key, lines.currency, lines.discount

),

check_discounts as (

    select
        *,
        sum(discount) over (partition by source_id, order_key, check_key) as discount_of_check,
        sum(discount) over (partition by source_id, order_key, check_key order by applied_key rows unbounded preceding) as running_total
    from {{ ref('stg_toast__check_discounts') }}
    where discount <> 0

),

of_checks as (

    select
        left_over.source_id,
        left_over.natural_key || '|' || coalesce(check_discounts.applied_key, 'unnamed') as natural_key,
        left_over.sale_key,
        left_over.natural_key as sale_item_key,
        check_discounts.discount_key,
        check_discounts.discount_name,
        check_discounts.discount_type,
        'order' as discount_scope,
        left_over.currency,
        case
            when check_discounts.applied_key is null then left_over.amount
            else
                {{ round_money('left_over.amount * check_discounts.running_total / check_discounts.discount_of_check', 'left_over.currency') }}
                - {{ round_money('left_over.amount * (check_discounts.running_total - check_discounts.discount) / check_discounts.discount_of_check', 'left_over.currency') }}
        end as amount
    from left_over
    left join check_discounts
        on left_over.source_id = check_discounts.source_id
        and left_over.sale_key = check_discounts.order_key
        and left_over.check_key = check_discounts.check_key
    where left_over.amount <> 0

),

all_discounts as (

    select * from of_lines

    union all

    select * from of_checks

)

select
    source_id,
    natural_key,
    sale_key,
    sale_item_key,
    discount_key,
    discount_name,
    discount_type,
    discount_scope,
    false as is_comp,
    currency,
    amount
from all_discounts
