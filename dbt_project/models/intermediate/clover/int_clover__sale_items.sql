-- Here each line bears its own worth, and a modification its own.
with lines as (

    select
        sold.*,
        {{ by_minor_digits('sold.currency', '1', '0.01', '0.001') }} as unit,
        (
            select coalesce(sum(round((modification.value ->> 'amount')::numeric / (1 + sold.included_rate))), 0)
            from {{ elements('sold.modifications') }} as modification (value)
        ) as modifications_minor
    from {{ ref('int_clover__lines') }} as sold
    where not sold.is_order_fee

)

select
    source_id,
    order_key || '|' || line_key as natural_key,
    order_key as sale_key,
    null as parent_key,
    item_key,
    line_number,
    case
        when not is_revenue then 'gift_card'  -- Clover's word for what is sold and is no revenue
        when item_key is null then 'custom_amount'
        else 'item'
    end as line_type,
    item_name,
    null as variation_name,
    null as category_name,
    currency,
    coalesce(quantity, 1) as quantity,
    price_minor * unit as unit_price,
    (amount_minor - modifications_minor) * unit as amount,
    (own_discount_before_tax_minor + order_discount_before_tax_minor) * unit as discount,
    0 as comp,
    tax_included_minor * unit as tax_included,
    tax_added_minor * unit as tax_added,
    is_void,
    void_reason,
    removed_by_key as employee_key
from lines

union all

select
    lines.source_id,
    lines.order_key || '|' || lines.line_key || '|' || (modification.value ->> 'id') as natural_key,
    lines.order_key as sale_key,
    lines.order_key || '|' || lines.line_key as parent_key,
    modification.value #>> '{modifier,id}' as item_key,
    modification.position as line_number,
    'modifier' as line_type,
    modification.value ->> 'name' as item_name,
    null as variation_name,
    null as category_name,
    lines.currency,
    1 as quantity,
    (modification.value ->> 'amount')::numeric * lines.unit as unit_price,
    coalesce(round((modification.value ->> 'amount')::numeric / (1 + lines.included_rate)), 0) * lines.unit as amount,
    0 as discount,
    0 as comp,
    0 as tax_included,
    0 as tax_added,
    lines.is_void,
    lines.void_reason,
    lines.removed_by_key as employee_key
from lines
cross join lateral {{ elements('lines.modifications') }} with ordinality as modification (value, position)
