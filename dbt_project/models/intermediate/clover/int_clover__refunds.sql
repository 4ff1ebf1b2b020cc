-- What is given back, tax and tip inside. What no line, tax, tip or charge accounts for is not itemised.
with itemised as (

    select
        source_id,
        refund_key,
        sum(amount) filter (where line_type <> 'gift_card') as returns,
        sum(amount) filter (where line_type = 'gift_card') as gift_card,
        sum(tax) as tax
    from {{ ref('int_clover__refund_items') }}
    group by source_id, refund_key

),

given_back as (

    select
        *,
        {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as unit
    from {{ ref('int_clover__given_back') }}

),

refunds as (

    select
        given_back.source_id,
        given_back.refund_key as natural_key,
        given_back.order_key as sale_key,
        given_back.payment_key,
        given_back.location_key,
        given_back.employee_key,
        given_back.currency,
        given_back.refunded_at,
        given_back.reason,
        coalesce(itemised.returns, 0) as returns,
        coalesce(given_back.tax_minor * given_back.unit, itemised.tax, 0) as tax_returned,
        given_back.tip_minor * given_back.unit as tip_returned,
        case when given_back.is_gratuity then 0 else given_back.service_charge_minor end
        * given_back.unit as service_charge_returned,
        case when given_back.is_gratuity then given_back.service_charge_minor else 0 end
        * given_back.unit as gratuity_returned,
        coalesce(itemised.gift_card, 0) as gift_card_returned,
        given_back.amount_minor * given_back.unit as amount_refunded
    from given_back
    left join itemised
        on given_back.source_id = itemised.source_id
        and given_back.refund_key = itemised.refund_key

)

select
    source_id,
    natural_key,
    sale_key,
    payment_key,
    location_key,
    employee_key,
    currency,
    null as vendor_business_date,
    refunded_at,
    reason,
    returns,
    amount_refunded
    - returns - tax_returned - tip_returned - service_charge_returned - gratuity_returned - gift_card_returned
        as refund_unitemised,
    tax_returned,
    tip_returned,
    service_charge_returned,
    gratuity_returned,
    gift_card_returned,
    0 as donations_returned,
    0 as rounding_returned,
    amount_refunded
from refunds
