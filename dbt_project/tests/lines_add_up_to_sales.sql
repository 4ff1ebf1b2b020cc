{% set changed = ['fct_sale_item', 'fct_sale'] %}
-- A sale is what its lines are; tax on lines is never more than that of the order (charges have tax of their own).
with lines as (

    select
        sale_id,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(tax) as tax,
        sum(gift_card_sold) as gift_card_sold,
        sum(void_amount) as void_amount,
        sum(open_sales) as open_sales
    from {{ tested_rows(ref('fct_sale_item'), ['source_id', 'root_key'], changed) }} as fct_sale_item
    group by sale_id

)

select
    sales.sale_id,
    sales.gross_sales,
    lines.gross_sales as gross_sales_of_lines,
    sales.tax,
    lines.tax as tax_of_lines
from {{ tested_rows(ref('fct_sale'), ['source_id', 'root_key'], changed) }} as sales
inner join lines
    on sales.sale_id = lines.sale_id
where
    sales.gross_sales <> lines.gross_sales
    or sales.discount <> lines.discount
    or sales.gift_card_sold <> lines.gift_card_sold
    or sales.void_amount <> lines.void_amount
    or sales.open_sales <> lines.open_sales
    or sales.tax < lines.tax
