-- What was completed; carts are no sales yet, and most never become one. Archived is as if it had never been.
select
    sales.source_id,
    sales.order_key,
    sales.location_key,
    sales.employee_key,
    sales.ticket_number,
    sales.reference_source,
    sales.total,
    sales.discount,
    sales.tax,
    sales.is_void or voided_sales.order_key is not null as is_void,
    sales.is_tax_inclusive,
    sales.created_at,
    coalesce(sales.completed_at, sales.modified_at) as completed_at,  -- older records say it in timeStamp only
    businesses.reporting_currency as currency
from {{ ref('stg_lightspeed_r__sales') }} as sales
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('sales.source_id') }} = businesses.business_id
-- the sale itself may have been read before it was voided, and does not show again
left join {{ ref('stg_lightspeed_r__voided_sales') }} as voided_sales
    on sales.source_id = voided_sales.source_id
    and sales.order_key = voided_sales.order_key
where sales.is_completed and not sales.is_archived
