-- Checks with what is said elsewhere: their site, its currency, whether their order is void. Deleted orders and checks are
-- as if they had never been.
select
    checks.source_id,
    checks.order_key,
    checks.check_key,
    orders.location_key,
    checks.check_number,
    checks.amount,
    checks.tax,
    checks.total,
    orders.is_void or checks.is_void as is_void,
    coalesce(locations.currency, businesses.reporting_currency) as currency
from {{ ref('stg_toast__checks') }} as checks
inner join {{ ref('stg_toast__orders') }} as orders
    on checks.source_id = orders.source_id
    and checks.order_key = orders.order_key
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('checks.source_id') }} = businesses.business_id
left join {{ ref('int_site_currencies') }} as locations
    on orders.source_id = locations.source_id
    and orders.location_key = locations.location_key
where not orders.is_deleted and not checks.is_deleted
