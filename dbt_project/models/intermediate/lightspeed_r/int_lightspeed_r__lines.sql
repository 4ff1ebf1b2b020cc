-- Lines to the currency's minor unit. The till rounds a sale, not its lines: what is left goes to the largest line.
with lines as (

    select
        lines.*,
        orders.currency,
        orders.is_void,
        orders.is_tax_inclusive,
        orders.total as order_total,
        orders.tax as order_tax,
        orders.discount as order_discount,
        {{ round_money('lines.total', 'orders.currency') }} as rounded_total,
        {{ round_money('lines.tax', 'orders.currency') }} as rounded_tax,
        {{ round_money('lines.line_discount + lines.transaction_discount', 'orders.currency') }} as rounded_discount,
        {{ round_money('lines.transaction_discount', 'orders.currency') }} as rounded_transaction_discount,
        row_number() over (
            partition by lines.source_id, lines.order_key order by abs(lines.total) desc, lines.line_number
        ) = 1 as is_largest
    from {{ ref('stg_lightspeed_r__sale_lines') }} as lines
    inner join {{ ref('int_lightspeed_r__orders') }} as orders
        on lines.source_id = orders.source_id
        and lines.order_key = orders.order_key

),

left_over as (

    select
        source_id,
        order_key,
        min(order_total) - sum(rounded_total) as total,
        min(order_tax) - sum(rounded_tax) as tax,
        min(order_discount) - sum(rounded_discount) as discount
    from lines
    group by source_id, order_key

),

adjusted as (

    select
        lines.*,
        lines.rounded_total + case when lines.is_largest then left_over.total else 0 end as total_to_pay,
        lines.rounded_tax + case when lines.is_largest then left_over.tax else 0 end as tax_to_pay,
        lines.rounded_discount + case when lines.is_largest then left_over.discount else 0 end as discount_given
    from lines
    inner join left_over
        on lines.source_id = left_over.source_id
        and lines.order_key = left_over.order_key

)

select
    source_id,
    order_key,
    line_key,
    parent_line_key,
    item_key,
    employee_key,
    discount_key,
    discount_name,
    discount_type,
    item_name,
    line_number,
    quantity,
    unit_price,
    currency,
    is_void,
    is_tax_inclusive,
    quantity < 0 as is_return,
    tax_to_pay as tax,
    total_to_pay - tax_to_pay as net,
    discount_given as discount,
    -- what is not the whole sale's is the line's own
    case
        when transaction_discount = 0 then 0
        when line_discount = 0 then discount_given
        else rounded_transaction_discount
    end as transaction_discount
from adjusted
