-- Money given back is written into the payment. Payments of one refund share a transaction; without one, each is its own.
with refunds as (

    select
        source_id,
        coalesce(sale_key || '|' || refund_transaction_key, natural_key) as natural_key,
        sale_key,
        min(natural_key) as payment_key,
        min(location_key) as location_key,
        min(currency) as currency,
        min(refund_business_date) as vendor_business_date,
        min(refunded_at) as refunded_at,
        sum(refund_amount) as amount,
        sum(tip_refund_amount) as tip
    from {{ ref('int_toast__payments') }}
    where is_refunded and payment_status = 'completed'
    group by source_id, sale_key, coalesce(sale_key || '|' || refund_transaction_key, natural_key)

),

itemised as (

    select
        source_id,
        refund_key,
        sum(amount) filter (where line_type <> 'gift_card') as returns,
        sum(amount) filter (where line_type = 'gift_card') as gift_card,
        sum(tax) as tax
    from {{ ref('int_toast__refund_items') }}
    group by source_id, refund_key

)

select
    refunds.source_id,
    refunds.natural_key,
    refunds.sale_key,
    refunds.payment_key,
    refunds.location_key,
    refunds.currency,
    refunds.vendor_business_date,
    refunds.refunded_at,
    null as reason,
    null as employee_key,
    coalesce(itemised.returns, 0) as returns,
    refunds.amount
    - coalesce(itemised.returns, 0)
    - coalesce(itemised.gift_card, 0)
    - coalesce(itemised.tax, 0) as refund_unitemised,
    coalesce(itemised.tax, 0) as tax_returned,
    refunds.tip as tip_returned,
    0 as service_charge_returned,
    0 as gratuity_returned,
    coalesce(itemised.gift_card, 0) as gift_card_returned,
    0 as donations_returned,
    0 as rounding_returned,
    refunds.amount + refunds.tip as amount_refunded
from refunds
left join itemised
    on refunds.source_id = itemised.source_id
    and refunds.natural_key = itemised.refund_key
