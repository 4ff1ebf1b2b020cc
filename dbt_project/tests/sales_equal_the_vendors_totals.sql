{% set changed = ['fct_sale', 'int_sales__dated'] %}
-- What the till itself says was to be paid, tip included.
select
    sales.sale_id,
    sales.total_collected,
    told.vendor_total
from {{ tested_rows(ref('fct_sale'), ['source_id', 'root_key'], changed) }} as sales
inner join {{ tested_rows(ref('int_sales__dated'), ['source_id', 'root_key'], changed) }} as told
    on sales.sale_id = told.sale_id
where sales.sale_status = 'completed' and sales.total_collected <> told.vendor_total
