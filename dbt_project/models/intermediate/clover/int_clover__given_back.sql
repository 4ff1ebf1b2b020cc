-- Refunds of payments and manual refunds (credits) whose money has gone, in minor units.
with refunds as (

    select
        refunds.source_id,
        refunds.refund_key,
        coalesce(refunds.order_key, payments.order_key) as order_key,
        refunds.payment_key,
        refunds.location_key,
        refunds.employee_key,
        refunds.refunded_at,
        refunds.reason,
        refunds.amount_minor,
        refunds.tax_minor,
        refunds.tip_minor,
        refunds.service_charge_minor,
        refunds.lines
    from {{ ref('stg_clover__refunds') }} as refunds
    left join {{ ref('stg_clover__payments') }} as payments
        on refunds.source_id = payments.source_id
        and refunds.payment_key = payments.payment_key
    where not refunds.is_void and coalesce(refunds.refund_status, 'SUCCESS') = 'SUCCESS'

),

credits as (

    select
        source_id,
        credit_key as refund_key,
        order_key,
        null as payment_key,
        location_key,
        employee_key,
        credited_at as refunded_at,
        reason,
        amount_minor,
        tax_minor,
        0 as tip_minor,
        0 as service_charge_minor,
        null::jsonb as lines
    from {{ ref('stg_clover__credits') }}
    where not is_void and coalesce(result, 'SUCCESS') = 'SUCCESS'

),

given_back as (

    select * from refunds

    union all

    select * from credits

)

select
    given_back.*,
    coalesce(orders.is_gratuity, false) as is_gratuity,
    coalesce(orders.currency, sites.currency, businesses.reporting_currency) as currency
from given_back
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('given_back.source_id') }} = businesses.business_id
left join {{ ref('int_clover__orders') }} as orders
    on given_back.source_id = orders.source_id
    and given_back.order_key = orders.order_key
left join {{ ref('int_site_currencies') }} as sites
    on given_back.source_id = sites.source_id
    and given_back.location_key = sites.location_key
