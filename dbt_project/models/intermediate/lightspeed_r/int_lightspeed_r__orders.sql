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
    sales.is_void,
    sales.is_tax_inclusive,
    sales.created_at,
    coalesce(sales.completed_at, sales.modified_at) as completed_at,  -- older records say it in timeStamp only
    businesses.reporting_currency as currency
from {{ ref('stg_lightspeed_r__sales') }} as sales
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('sales.source_id') }} = businesses.business_id
where sales.is_completed and not sales.is_archived
