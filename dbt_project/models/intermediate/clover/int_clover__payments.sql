with test_orders as (

    select distinct
        source_id,
        order_key
    from {{ ref('stg_clover__orders') }}
    where is_test

),

payments as (

    select
        payments.*,
        coalesce(orders.currency, sites.currency, businesses.reporting_currency) as currency
    from {{ ref('stg_clover__payments') }} as payments
    inner join {{ ref('stg_shard__businesses') }} as businesses
        on {{ business_id_of('payments.source_id') }} = businesses.business_id
    left join {{ ref('int_clover__orders') }} as orders
        on payments.source_id = orders.source_id
        and payments.order_key = orders.order_key
    left join {{ ref('int_site_currencies') }} as sites
        on payments.source_id = sites.source_id
        and payments.location_key = sites.location_key
    left join test_orders
        on payments.source_id = test_orders.source_id
        and payments.order_key = test_orders.order_key
    where test_orders.order_key is null

)

select
    source_id,
    payment_key as natural_key,
    order_key as sale_key,
    location_key,
    case
        when tender = 'com.clover.tender.cash' then 'cash'
        when tender like '%gift\_card%' or card_type = 'GIFT_CARD' then 'gift_card'
        when
            tender in (
                'com.clover.tender.credit_card', 'com.clover.tender.debit_card', 'com.clover.tender.external_pin_debit'
            )
            then 'card'
        when tender in ('com.clover.paypal', 'com.clover.venmo') then 'wallet'
        when tender = 'com.clover.tender.external_payment' then 'external'
        else 'other'
    end as payment_type,
    coalesce(tender_name, tender) as vendor_payment_type,
    case
        when is_taken then 'completed'
        when result in ('VOIDED', 'VOIDING') then 'void'
        when result = 'FAIL' then 'failed'
        else 'pending'
    end as payment_status,
    currency,
    null as vendor_business_date,
    paid_at,
    amount_minor * {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as amount,
    -- nobody records a cash tip: unknown
    case when tender = 'com.clover.tender.cash' then nullif(tip_minor, 0) else coalesce(tip_minor, 0) end
    * {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as tip,
    null as processing_fee
from payments
