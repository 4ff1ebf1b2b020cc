-- Payments with what they are. Money laid on a gift card or a credit account is a negative payment beside the one that
-- pays for it; a negative payment of a sale that gives more back than it takes is a refund, onto whatever it is paid.
select
    payments.source_id,
    payments.order_key,
    payments.payment_key,
    payments.refunded_payment_key,
    payments.sold_as_line_key,
    payments.employee_key,
    payments.payment_type,
    payments.payment_name,
    payments.amount,
    payments.tip,
    payments.paid_at,
    payments.is_archived or orders.is_void as is_void,
    orders.location_key,
    orders.currency,
    case
        when
            payments.payment_type in ('gift card', 'credit account')
            and payments.amount < 0
            and orders.total >= 0
            then 'deposit'
        when payments.amount < 0 then 'refund'
        else 'payment'
    end as tender_use
from {{ ref('stg_lightspeed_r__sale_payments') }} as payments
inner join {{ ref('int_lightspeed_r__orders') }} as orders
    on payments.source_id = orders.source_id
    and payments.order_key = orders.order_key
