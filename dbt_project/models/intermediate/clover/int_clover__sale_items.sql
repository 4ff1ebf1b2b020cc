-- Here each line bears its own worth, and a modification its own.
with lines as (

    select
        *,
        {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as unit
    from {{ ref('int_clover__lines') }}

),

modifications as (

    select
        lines.source_id,
        lines.order_key,
        lines.line_key,
        modification.value ->> 'id' as modification_key,
        modification.value #>> '{modifier,id}' as item_key,
        modification.value ->> 'name' as item_name,
        modification.position as line_number,
        lines.currency,
        lines.unit,
        lines.is_void,
        lines.void_reason,
        (modification.value ->> 'amount')::numeric as price_minor,
        coalesce(round((modification.value ->> 'amount')::numeric / (1 + lines.included_rate)), 0) as amount_minor
    from lines
    cross join lateral {{ elements('lines.modifications') }} with ordinality as modification (value, position)

),

modifications_of_line as (

    select
        source_id,
        order_key,
        line_key,
        sum(amount_minor) as amount_minor
    from modifications
    group by source_id, order_key, line_key

)

select
    lines.source_id,
    lines.order_key || '|' || lines.line_key as natural_key,
    lines.order_key as sale_key,
    null as parent_key,
    lines.item_key,
    lines.line_number,
    case
        when not lines.is_revenue then 'gift_card'  -- Clover's word for what is sold and is no revenue
        when lines.item_key is null then 'custom_amount'
        else 'item'
    end as line_type,
    lines.item_name,
    null as variation_name,
    null as category_name,
    lines.currency,
    lines.quantity,
    lines.price_minor * lines.unit as unit_price,
    (lines.amount_minor - coalesce(modifications_of_line.amount_minor, 0)) * lines.unit as amount,
    lines.discount_minor * lines.unit as discount,
    0 as comp,
    lines.tax_included_minor * lines.unit as tax_included,
    lines.tax_added_minor * lines.unit as tax_added,
    lines.is_void,
    lines.void_reason
from lines
left join modifications_of_line
    on lines.source_id = modifications_of_line.source_id
    and lines.order_key = modifications_of_line.order_key
    and lines.line_key = modifications_of_line.line_key

union all

select
    source_id,
    order_key || '|' || line_key || '|' || modification_key as natural_key,
    order_key as sale_key,
    order_key || '|' || line_key as parent_key,
    item_key,
    line_number,
    'modifier' as line_type,
    item_name,
    null as variation_name,
    null as category_name,
    currency,
    1 as quantity,
    price_minor * unit as unit_price,
    amount_minor * unit as amount,
    0 as discount,
    0 as comp,
    0 as tax_included,
    0 as tax_added,
    is_void,
    void_reason
from modifications
