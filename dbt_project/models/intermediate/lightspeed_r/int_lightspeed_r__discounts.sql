with lines as (

    select
        *,
        discount - transaction_discount as line_discount
    from {{ ref('int_lightspeed_r__lines') }}
    where not is_return

)

select
    source_id,
    order_key || '|' || line_key || '|line' as natural_key,
    order_key as sale_key,
    order_key || '|' || line_key as sale_item_key,
    discount_key,
    discount_name,
    discount_type,
    'line' as discount_scope,
    false as is_comp,
    employee_key,
    currency,
    line_discount as amount
from lines
where line_discount <> 0

union all

select
    source_id,
    order_key || '|' || line_key || '|sale' as natural_key,
    order_key as sale_key,
    order_key || '|' || line_key as sale_item_key,
    null as discount_key,
    null as discount_name,
    null as discount_type,
    'order' as discount_scope,
    false as is_comp,
    employee_key,
    currency,
    transaction_discount as amount
from lines
where transaction_discount <> 0
