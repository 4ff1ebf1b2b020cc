{{ config(facet=['source_id', 'root_key']) }}

select
    rows_of_sale.source_id,
    rows_of_sale.natural_key,
    rows_of_sale.root_key,
    sales.id as parent_id
from {{ ref('int_sale_items__unioned') }} as rows_of_sale
inner join {{ ref('keys_sale') }} as sales
    on rows_of_sale.source_id = sales.source_id
    and rows_of_sale.sale_key = sales.natural_key
