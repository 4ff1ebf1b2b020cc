-- What went out; what came back is in int_lightspeed_r__refund_items. A gift card is a line of nothing whose worth is in
-- the payment that lays it on; a deposit on a credit account has no line.
with deposits as (

    select
        *,
        -amount as deposit
    from {{ ref('int_lightspeed_r__tenders') }}
    where tender_use = 'deposit' and not is_void

),

deposits_of_line as (

    select
        source_id,
        order_key,
        sold_as_line_key,
        min(payment_name) as payment_name,
        sum(deposit) as deposit
    from deposits
    where sold_as_line_key is not null
    group by source_id, order_key, sold_as_line_key

)

select
    lines.source_id,
    lines.order_key || '|' || lines.line_key as natural_key,
    lines.order_key as sale_key,
    null as parent_key,
    lines.item_key,
    lines.line_number,
    case
        when deposits_of_line.deposit is not null then 'gift_card'
        when lines.item_key is not null then 'item'
        else 'custom_amount'
    end as line_type,
    coalesce(deposits_of_line.payment_name, lines.item_name) as item_name,  -- the line's note has the card's number
    null as variation_name,
    null as category_name,
    lines.employee_key,
    lines.currency,
    lines.quantity,
    lines.unit_price,
    coalesce(deposits_of_line.deposit, 0) + lines.net + lines.discount as amount,
    lines.discount,
    0 as comp,
    case when lines.is_tax_inclusive then lines.tax else 0 end as tax_included,
    case when lines.is_tax_inclusive then 0 else lines.tax end as tax_added,
    lines.is_void,
    null as void_reason
from {{ ref('int_lightspeed_r__lines') }} as lines
left join deposits_of_line
    on lines.source_id = deposits_of_line.source_id
    and lines.order_key = deposits_of_line.order_key
    and lines.line_key = deposits_of_line.sold_as_line_key
where not lines.is_return

union all

select
    deposits.source_id,
    deposits.order_key || '|payment|' || deposits.payment_key as natural_key,
    deposits.order_key as sale_key,
    null as parent_key,
    null as item_key,
    null as line_number,
    'gift_card' as line_type,
    deposits.payment_name as item_name,
    null as variation_name,
    null as category_name,
    deposits.employee_key,
    deposits.currency,
    1 as quantity,
    deposits.deposit as unit_price,
    deposits.deposit as amount,
    0 as discount,
    0 as comp,
    0 as tax_included,
    0 as tax_added,
    false as is_void,
    null as void_reason
from deposits
left join {{ ref('int_lightspeed_r__lines') }} as lines
    on deposits.source_id = lines.source_id
    and deposits.order_key = lines.order_key
    and deposits.sold_as_line_key = lines.line_key
    and not lines.is_return
where lines.line_key is null
