-- Lines whose price holds tax. In the US, Canada and Japan Square deducts it from gross_sales_money itself; elsewhere it
-- is still inside. A discount given on a price with tax in it is worth less before tax, by the same rate.
with line_taxes as (

    select
        line_taxes.source_id,
        line_taxes.order_key,
        line_taxes.line_uid,
        sum(line_taxes.tax) as tax_included,
        sum(order_taxes.tax_rate) as tax_rate
    from {{ ref('stg_square__order_line_taxes') }} as line_taxes
    inner join {{ ref('stg_square__order_taxes') }} as order_taxes
        on line_taxes.source_id = order_taxes.source_id
        and line_taxes.order_key = order_taxes.order_key
        and line_taxes.tax_uid = order_taxes.tax_uid
    where order_taxes.is_inclusive
    group by line_taxes.source_id, line_taxes.order_key, line_taxes.line_uid

)

select
    line_taxes.source_id,
    line_taxes.order_key,
    line_taxes.line_uid,
    line_taxes.tax_included,
    case
        when locations.country in ('US', 'CA', 'JP') then 0
        else line_taxes.tax_included
    end as tax_in_gross,
    case
        when locations.country in ('US', 'CA', 'JP') then 0
        else coalesce(line_taxes.tax_rate, 0)
    end as tax_rate_in_gross
from line_taxes
inner join {{ ref('stg_square__orders') }} as orders
    on line_taxes.source_id = orders.source_id
    and line_taxes.order_key = orders.order_key
left join {{ ref('int_site_currencies') }} as locations
    on orders.source_id = locations.source_id
    and orders.location_key = locations.location_key
