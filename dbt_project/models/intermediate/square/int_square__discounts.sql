-- Square has already spread discounts of the whole order over its lines.
select
    applied.source_id,
    applied.order_key || '|' || applied.line_uid || '|' || applied.applied_uid as natural_key,
    applied.order_key as sale_key,
    applied.order_key || '|' || applied.line_uid as sale_item_key,
    discounts.discount_key,
    discounts.discount_name,
    discounts.discount_type,
    discounts.discount_scope,
    false as is_comp,  -- Square does not tell comps from discounts
    null as employee_key,  -- nor who gave them
    applied.currency,
    {{ round_money(
        'applied.discount / (1 + coalesce(included_taxes.tax_rate_in_gross, 0))', 'applied.currency'
    ) }} as amount
from {{ ref('stg_square__order_line_discounts') }} as applied
left join {{ ref('stg_square__order_discounts') }} as discounts
    on applied.source_id = discounts.source_id
    and applied.order_key = discounts.order_key
    and applied.discount_uid = discounts.discount_uid
left join {{ ref('int_square__included_taxes') }} as included_taxes
    on applied.source_id = included_taxes.source_id
    and applied.order_key = included_taxes.order_key
    and applied.line_uid = included_taxes.line_uid
