select
    source_id,
    payment_key as natural_key,
    order_key as sale_key,
    location_key,
    case
        when card_brand = 'SQUARE_GIFT_CARD' then 'gift_card'
        when tender_type in ('CARD', 'CASH', 'WALLET', 'EXTERNAL') then lower(tender_type)
        else 'other'
    end as payment_type,
    tender_type as vendor_payment_type,
    case payment_status
        when 'COMPLETED' then 'completed'
        when 'CANCELED' then 'void'
        when 'FAILED' then 'failed'
        else 'pending'
    end as payment_status,
    currency,
    null as vendor_business_date,
    created_at as paid_at,
    amount,
    case when tender_type = 'CASH' then tip else coalesce(tip, 0) end as tip,  -- nobody records a cash tip: unknown
    processing_fee
from {{ ref('stg_square__payments') }}
