with order_lines as (

    select
        order_lines.*,
        included_taxes.tax_included,
        included_taxes.tax_in_gross,
        included_taxes.tax_rate_in_gross
    from {{ ref('stg_square__order_lines') }} as order_lines
    left join {{ ref('int_square__included_taxes') }} as included_taxes
        on order_lines.source_id = included_taxes.source_id
        and order_lines.order_key = included_taxes.order_key
        and order_lines.line_uid = included_taxes.line_uid

),

discounts as (

    select
        source_id,
        sale_item_key,
        sum(amount) as discount
    from {{ ref('int_square__discounts') }}
    group by source_id, sale_item_key

),

modifiers as (

    select
        modifiers.source_id,
        modifiers.order_key,
        modifiers.line_uid,
        modifiers.modifier_uid,
        modifiers.item_key,
        modifiers.line_item_type,
        modifiers.modifier_name,
        modifiers.currency,
        modifiers.modifier_number,
        modifiers.quantity,
        modifiers.unit_price,
        {{ round_money(
            'modifiers.total_price / (1 + coalesce(included_taxes.tax_rate_in_gross, 0))', 'modifiers.currency'
        ) }} as amount
    from {{ ref('stg_square__order_line_modifiers') }} as modifiers
    left join {{ ref('int_square__included_taxes') }} as included_taxes
        on modifiers.source_id = included_taxes.source_id
        and modifiers.order_key = included_taxes.order_key
        and modifiers.line_uid = included_taxes.line_uid

),

modifiers_of_line as (

    select
        source_id,
        order_key,
        line_uid,
        sum(amount) as amount
    from modifiers
    group by source_id, order_key, line_uid

),

-- Before tax: what was paid less the tax in it, plus the discount before tax.
lines_before_tax as (

    select
        order_lines.*,
        coalesce(modifiers_of_line.amount, 0) as modifiers_amount,
        case
            when order_lines.tax_rate_in_gross > 0
                then coalesce(
                    discounts.discount,
                    {{ round_money(
                        'order_lines.discount / (1 + order_lines.tax_rate_in_gross)', 'order_lines.currency'
                    ) }}
                )
            else order_lines.discount
        end as discount_before_tax
    from order_lines
    left join discounts
        on order_lines.source_id = discounts.source_id
        and order_lines.order_key || '|' || order_lines.line_uid = discounts.sale_item_key
    left join modifiers_of_line
        on order_lines.source_id = modifiers_of_line.source_id
        and order_lines.order_key = modifiers_of_line.order_key
        and order_lines.line_uid = modifiers_of_line.line_uid

)

select
    source_id,
    order_key || '|' || line_uid as natural_key,
    order_key as sale_key,
    null as parent_key,
    item_key,
    line_number,
    case item_type
        when 'GIFT_CARD' then 'gift_card'
        when 'CUSTOM_AMOUNT' then 'custom_amount'
        when 'DONATION' then 'donation'
        else 'item'
    end as line_type,
    item_name,
    variation_name,
    null as category_name,
    currency,
    quantity,
    unit_price,
    case
        when tax_rate_in_gross > 0 then gross_sales - discount - tax_in_gross + discount_before_tax
        else gross_sales
    end - modifiers_amount as amount,
    discount_before_tax as discount,
    0 as comp,
    coalesce(tax_included, 0) as tax_included,
    tax - coalesce(tax_included, 0) as tax_added,
    false as is_void,
    null as void_reason,
    null as employee_key
from lines_before_tax

union all

select
    source_id,
    order_key || '|' || line_uid || '|' || modifier_uid as natural_key,
    order_key as sale_key,
    order_key || '|' || line_uid as parent_key,
    item_key,
    modifier_number as line_number,
    'modifier' as line_type,
    modifier_name as item_name,
    null as variation_name,
    null as category_name,
    currency,
    quantity,
    unit_price,
    amount,
    0 as discount,
    0 as comp,
    0 as tax_included,
    0 as tax_added,
    false as is_void,
    null as void_reason,
    null as employee_key
from modifiers
