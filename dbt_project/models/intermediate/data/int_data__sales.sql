-- Where a mapping does not say the tax of an order, it is that of its lines.
with lines as (

    select
        source_id,
        sale_key,
        sum(tax_included + tax_added) as tax
    from {{ ref('stg_data__sale_items') }}
    group by source_id, sale_key

),

sales as (

    select * from {{ ref('stg_data__sales') }}

)

select
    sales.*,
    coalesce(sales.mapped_tax, lines.tax, 0) as tax
from sales
left join lines
    on sales.source_id = lines.source_id
    and sales.natural_key = lines.sale_key
