-- What the till itself says was to be paid, tip included.
select
    sales.sale_id,
    sales.total_collected,
    told.vendor_total
from {{ ref('fct_sale') }} as sales
inner join {{ ref('int_sales__dated') }} as told
    on sales.sale_id = told.sale_id
where sales.sale_status = 'completed' and sales.total_collected <> told.vendor_total
