with payments as (

    select
        payments.*,
        checks.currency,
        checks.location_key,
        case
            when payments.has_void_info or payments.payment_status in ('VOIDED', 'CANCELLED') then 'void'
            when payments.payment_status in ('DENIED', 'ERROR') then 'failed'
            when payments.payment_status in ('OPEN', 'PROCESSING', 'PENDING') then 'pending'
            -- a card is authorised at the table and captured by night; cash has no status
            else 'completed'
        end as status
    from {{ ref('stg_toast__payments') }} as payments
    inner join {{ ref('int_toast__checks') }} as checks
        on payments.source_id = checks.source_id
        and payments.order_key = checks.order_key
        and payments.check_key = checks.check_key

)

select
    source_id,
    order_key || '|' || payment_key as natural_key,
    order_key as sale_key,
    location_key,
    case payment_type
        when 'CREDIT' then 'card'
        when 'CASH' then 'cash'
        when 'GIFTCARD' then 'gift_card'
        when 'HOUSE_ACCOUNT' then 'house_account'
        else 'other'
    end as payment_type,
    payment_type as vendor_payment_type,
    status as payment_status,
    currency,
    paid_business_date as vendor_business_date,
    paid_at,
    amount,
    case when payment_type = 'CASH' then nullif(tip, 0) else coalesce(tip, 0) end as tip,  -- nobody records a cash tip: unknown
    processing_fee,
    refund_transaction_key,
    is_refunded,
    refund_amount,
    tip_refund_amount,
    refund_business_date,
    refunded_at
from payments
