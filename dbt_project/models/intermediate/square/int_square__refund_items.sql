-- Lines of a return that name what came back. A custom amount without the line it refers to is an amount-only refund.
-- They belong to the order that the whole return belongs to, as int_square__refunds has it.
with returns as (

    select
        source_id,
        order_key,
        min(source_order_key) as sale_key
    from {{ ref('stg_square__order_returns') }}
    group by source_id, order_key

)

select
    lines.source_id,
    lines.order_key as refund_key,
    lines.order_key || '|' || lines.line_uid as natural_key,
    returns.sale_key,
    lines.source_order_key || '|' || lines.source_line_uid as sale_item_key,
    lines.item_key,
    case lines.item_type
        when 'GIFT_CARD' then 'gift_card'
        when 'DONATION' then 'donation'
        when 'CUSTOM_AMOUNT' then 'custom_amount'
        else 'item'
    end as line_type,
    lines.item_name,
    lines.variation_name,
    lines.currency,
    lines.quantity,
    lines.total - lines.tax as amount,
    lines.tax
from {{ ref('stg_square__order_return_lines') }} as lines
inner join returns
    on lines.source_id = returns.source_id
    and lines.order_key = returns.order_key
where lines.item_type is distinct from 'CUSTOM_AMOUNT' or lines.source_line_uid is not null
