select
    discounts.source_id,
    discounts.order_key || '|' || discounts.line_key || '|' || discounts.applied_key as natural_key,
    discounts.order_key as sale_key,
    discounts.order_key || '|' || discounts.line_key as sale_item_key,
    discounts.discount_key,
    discounts.discount_name,
    case when discounts.is_percentage then 'percentage' else 'amount' end as discount_type,
    discounts.discount_scope,
    false as is_comp,  -- Clover does not tell comps from discounts
    coalesce(discounts.approver_key, orders.employee_key) as employee_key,
    lines.currency,
    round(discounts.amount_minor / (1 + lines.included_rate))
    * {{ by_minor_digits('lines.currency', '1', '0.01', '0.001') }} as amount
from {{ ref('int_clover__line_discounts') }} as discounts
inner join {{ ref('int_clover__line_prices') }} as lines
    on discounts.source_id = lines.source_id
    and discounts.order_key = lines.order_key
    and discounts.line_key = lines.line_key
inner join {{ ref('int_clover__orders') }} as orders
    on discounts.source_id = orders.source_id
    and discounts.order_key = orders.order_key
where not lines.is_order_fee
