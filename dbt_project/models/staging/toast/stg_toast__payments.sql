with source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        "check".value ->> 'guid' as check_key,
        payment.value ->> 'guid' as payment_key,
        payment.value #>> '{refund,refundTransaction,guid}' as refund_transaction_key,
        coalesce(
            payment.value #>> '{voidInfo,voidUser,guid}', payment.value #>> '{voidInfo,voidApprover,guid}'
        ) as void_employee_key,

        -- strings
        payment.value ->> 'type' as payment_type,
        payment.value ->> 'cardType' as card_type,
        payment.value ->> 'paymentStatus' as payment_status,
        payment.value ->> 'refundStatus' as refund_status,

        -- numerics
        coalesce((payment.value ->> 'amount')::numeric, 0) as amount,
        (payment.value ->> 'tipAmount')::numeric as tip,
        (payment.value ->> 'originalProcessingFee')::numeric as processing_fee,
        coalesce((payment.value #>> '{refund,refundAmount}')::numeric, 0) as refund_amount,
        coalesce((payment.value #>> '{refund,tipRefundAmount}')::numeric, 0) as tip_refund_amount,

        -- booleans
        jsonb_typeof(payment.value -> 'voidInfo') = 'object' as has_void_info,
        coalesce(payment.value ->> 'refundStatus', 'NONE') <> 'NONE' as is_refunded,

        -- dates and times
        to_date(payment.value ->> 'paidBusinessDate', 'YYYYMMDD') as paid_business_date,
        (payment.value ->> 'paidDate')::timestamptz as paid_at,
        to_date(payment.value #>> '{refund,refundBusinessDate}', 'YYYYMMDD') as refund_business_date,
        (payment.value #>> '{refund,refundDate}')::timestamptz as refunded_at

    from source
    cross join lateral {{ elements("source.payload -> 'checks'") }} as "check" (value)
    cross join lateral {{ elements("\"check\".value -> 'payments'") }} as payment (value)

)

select * from renamed
