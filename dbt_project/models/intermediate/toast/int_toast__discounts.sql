-- One row per discount and line. A discount on a selection is given on it; one on the whole check is already in the
-- lines' prices: what a line lost beyond its own discounts is shared out to the check's discounts by their amounts, by
-- differences of a rounded running total, so that the parts add up.
with discounted as (

    select
        selections.source_id,
        selections.order_key as sale_key,
        selections.order_key || '|' || selections.selection_key as natural_key,
        selections.order_key || '|' || selections.parent_selection_key as parent_key,
        selections.check_key,
        selections.is_void,
        checks.currency,
        selections.price_before_discount - selections.price as discount,
        selections.applied_discounts
    from {{ ref('stg_toast__selections') }} as selections
    inner join {{ ref('int_toast__checks') }} as checks
        on selections.source_id = checks.source_id
        and selections.order_key = checks.order_key
        and selections.check_key = checks.check_key
    where selections.price_before_discount <> selections.price

),

modifiers as (

    select
        source_id,
        parent_key,
        is_void,
        sum(discount) as discount
    from discounted
    group by source_id, parent_key, is_void

),

-- As in int_toast__sale_items: a selection's prices have those of its modifiers in them.
lines as (

    select
        discounted.source_id,
        discounted.sale_key,
        discounted.natural_key,
        discounted.check_key,
        discounted.currency,
        discounted.applied_discounts,
        discounted.discount - coalesce(modifiers.discount, 0) as discount
    from discounted
    left join modifiers
        on discounted.source_id = modifiers.source_id
        and discounted.natural_key = modifiers.parent_key
        and discounted.is_void = modifiers.is_void

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
        discount.value #>> '{appliedDiscountReason,name}' as reason,
        discount.value #>> '{approver,guid}' as employee_key,
        lines.currency,
        coalesce(
            (discount.value ->> 'nonTaxDiscountAmount')::numeric, (discount.value ->> 'discountAmount')::numeric, 0
        ) as amount
    from lines
    cross join lateral {{ elements('lines.applied_discounts') }} as discount (value)

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

running_totals as (

    select
        *,
        sum(discount) over (partition by source_id, order_key, check_key) as discount_of_check,
        sum(discount) over (
            partition by source_id, order_key, check_key
            order by applied_key rows unbounded preceding
        ) as running_total
    from {{ ref('stg_toast__check_discounts') }}
    where discount <> 0

),

check_discounts as (

    select
        *,
        running_total / discount_of_check as share_up_to_it,
        (running_total - discount) / discount_of_check as share_before_it
    from running_totals

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
        check_discounts.reason,
        check_discounts.employee_key,
        left_over.currency,
        case
            when check_discounts.applied_key is null then left_over.amount
            else
                {{ round_money('left_over.amount * check_discounts.share_up_to_it', 'left_over.currency') }}
                - {{ round_money('left_over.amount * check_discounts.share_before_it', 'left_over.currency') }}
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
    -- Toast has no mark for comps: a discount is one where the restaurant calls it so, or the reason it was given for
    concat_ws(' ', discount_name, reason) ~* '\m(comp(s|ed)?|complimentary|on the house)\M' as is_comp,
    employee_key,
    currency,
    amount
from all_discounts
