-- Lines of a return that name what came back. A custom amount without the line it refers to is an amount-only refund.
select
    source_id,
    order_key as refund_key,
    order_key || '|' || line_uid as natural_key,
    source_order_key as sale_key,
    source_order_key || '|' || source_line_uid as sale_item_key,
    item_key,
    case item_type
        when 'GIFT_CARD' then 'gift_card'
        when 'CUSTOM_AMOUNT' then 'custom_amount'
        else 'item'
    end as line_type,
    item_name,
    variation_name,
    currency,
    quantity,
    total - tax as amount,
    tax
from {{ ref('stg_square__order_return_lines') }}
where item_type is distinct from 'CUSTOM_AMOUNT' or source_line_uid is not null
