-- What a line lost, by its own discounts and by those of the order, is shared out to them as they were asked, up to what
-- there was to pay: by differences of a rounded running total, so that the parts add up.
with asked as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        lines.currency,
        'line' as discount_scope,
        discount.value,
        discount.position,
        lines.own_discount_before_tax_minor as lost_minor,
        greatest(lines.gross_minor, 0) as base_minor
    from {{ ref('int_clover__lines') }} as lines
    cross join lateral {{ elements('lines.discounts') }} with ordinality as discount (value, position)
    where not lines.is_order_fee and lines.own_discount_before_tax_minor <> 0

    union all

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        lines.currency,
        'order' as discount_scope,
        discount.value,
        discount.position,
        lines.order_discount_before_tax_minor as lost_minor,
        lines.subtotal_minor as base_minor
    from {{ ref('int_clover__lines') }} as lines
    cross join lateral {{ elements('lines.order_discounts') }} with ordinality as discount (value, position)
    where lines.order_discount_before_tax_minor <> 0

),

amounts as (

    select
        *,
        coalesce(
            -(value ->> 'amount')::numeric,
            round(
                base_minor * coalesce(
                    (value ->> 'percentageDecimal')::numeric / 1000000, (value ->> 'percentage')::numeric / 100
                )
            ),
            0
        ) as asked_minor
    from asked

),

running_totals as (

    select
        *,
        sum(asked_minor) over (
            partition by source_id, order_key, line_key, discount_scope
            order by position rows unbounded preceding
        ) as running_minor,
        least(
            base_minor,
            sum(asked_minor) over (partition by source_id, order_key, line_key, discount_scope)
        ) as given_minor
    from amounts

),

shared_out as (

    select
        *,
        round(lost_minor * least(base_minor, running_minor) / given_minor)
        - round(lost_minor * least(base_minor, running_minor - asked_minor) / given_minor) as amount_minor
    from running_totals
    where given_minor <> 0

)

select
    source_id,
    order_key || '|' || line_key || '|' || (value ->> 'id') as natural_key,
    order_key as sale_key,
    order_key || '|' || line_key as sale_item_key,
    value #>> '{discount,id}' as discount_key,
    value ->> 'name' as discount_name,
    case when value ->> 'amount' is null then 'percentage' else 'amount' end as discount_type,
    discount_scope,
    false as is_comp,  -- Clover does not tell comps from discounts
    value #>> '{approver,id}' as employee_key,
    currency,
    amount_minor * {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as amount
from shared_out
where amount_minor <> 0
