-- Goods that came back, by the sale that took them: an exchange sells others at the same time. `set_off` is what of
-- their worth was not paid out, but went towards what was sold.
with lines as (

    select
        source_id,
        order_key,
        -sum(net) as returns,
        -sum(tax) as tax,
        min(parent_line_key) as parent_line_key
    from {{ ref('int_lightspeed_r__lines') }}
    where is_return and not is_void
    group by source_id, order_key

),

money as (

    select
        source_id,
        order_key,
        -sum(amount) as paid_out,
        -sum(tip) as tip,
        min(refunded_payment_key) as payment_key
    from {{ ref('int_lightspeed_r__tenders') }}
    where tender_use = 'refund' and not is_void
    group by source_id, order_key

)

select
    lines.source_id,
    lines.order_key,
    sold.order_key as sale_key,
    money.payment_key,
    lines.returns,
    lines.tax,
    coalesce(money.tip, 0) as tip,
    lines.returns + lines.tax + coalesce(money.tip, 0) as worth,
    lines.returns + lines.tax + coalesce(money.tip, 0) - coalesce(money.paid_out, 0) as set_off
from lines
left join money
    on lines.source_id = money.source_id
    and lines.order_key = money.order_key
-- the sale of the first line that names one
left join {{ ref('stg_lightspeed_r__sale_lines') }} as sold
    on lines.source_id = sold.source_id
    and lines.parent_line_key = sold.line_key
