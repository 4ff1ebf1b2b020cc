select
    returns.source_id,
    returns.order_key as natural_key,
    returns.sale_key,
    returns.payment_key,
    orders.location_key,
    orders.employee_key,
    orders.currency,
    null as vendor_business_date,
    orders.completed_at as refunded_at,
    null as reason,
    returns.returns,
    0 as refund_unitemised,
    returns.tax as tax_returned,
    returns.tip as tip_returned,
    0 as service_charge_returned,
    0 as gratuity_returned,
    0 as gift_card_returned,
    0 as donations_returned,
    0 as rounding_returned,
    returns.worth as amount_refunded
from {{ ref('int_lightspeed_r__returns') }} as returns
inner join {{ ref('int_lightspeed_r__orders') }} as orders
    on returns.source_id = orders.source_id
    and returns.order_key = orders.order_key
