-- They belong to the sale that the whole return belongs to, as int_lightspeed_r__refunds has it.
select
    lines.source_id,
    lines.order_key as refund_key,
    lines.order_key || '|' || lines.line_key as natural_key,
    returns.sale_key,
    sold.order_key || '|' || sold.line_key as sale_item_key,
    lines.item_key,
    case when lines.item_key is null then 'custom_amount' else 'item' end as line_type,
    lines.item_name,
    null as variation_name,
    lines.currency,
    -lines.quantity as quantity,
    -lines.net as amount,
    -lines.tax as tax
from {{ ref('int_lightspeed_r__lines') }} as lines
inner join {{ ref('int_lightspeed_r__returns') }} as returns
    on lines.source_id = returns.source_id
    and lines.order_key = returns.order_key
left join {{ ref('stg_lightspeed_r__sale_lines') }} as sold
    on lines.source_id = sold.source_id
    and lines.parent_line_key = sold.line_key
where lines.is_return
