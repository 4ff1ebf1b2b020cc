{% set changed = ['fct_discount', 'fct_sale_item'] %}
-- Each line's discount is the sum of the discounts named on it.
with named as (

    select
        sale_item_id,
        sum(discount) as discount,
        sum(comp) as comp
    from {{ tested_rows(ref('fct_discount'), ['source_id', 'root_key'], changed) }} as fct_discount
    group by sale_item_id

)

select
    lines.sale_item_id,
    lines.discount,
    named.discount as named_discount
from {{ tested_rows(ref('fct_sale_item'), ['source_id', 'root_key'], changed) }} as lines
left join named
    on lines.sale_item_id = named.sale_item_id
where
    lines.discount <> coalesce(named.discount, 0)
    or lines.comp <> coalesce(named.comp, 0)
