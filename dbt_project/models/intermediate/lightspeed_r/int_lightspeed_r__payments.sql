-- Money taken. What is given back is a refund where goods came back, else a negative payment of its sale.
select
    tenders.source_id,
    tenders.payment_key as natural_key,
    tenders.order_key as sale_key,
    tenders.location_key,
    case tenders.payment_type
        when 'cash' then 'cash'
        when 'credit card' then 'card'
        when 'gift card' then 'gift_card'
        when 'credit account' then 'house_account'
        when 'ecom' then 'external'
        else 'other'
    end as payment_type,
    tenders.payment_name as vendor_payment_type,
    case when tenders.is_void then 'void' else 'completed' end as payment_status,
    tenders.currency,
    null as vendor_business_date,
    tenders.paid_at,
    tenders.amount - tenders.tip as amount,
    case when tenders.payment_type = 'cash' then nullif(tenders.tip, 0) else tenders.tip end as tip,
    null as processing_fee
from {{ ref('int_lightspeed_r__tenders') }} as tenders
left join {{ ref('int_lightspeed_r__returns') }} as returns
    on tenders.source_id = returns.source_id
    and tenders.order_key = returns.order_key
where tenders.tender_use = 'payment' or (tenders.tender_use = 'refund' and returns.order_key is null)

union all

select
    returns.source_id,
    returns.order_key || '|exchange' as natural_key,
    returns.order_key as sale_key,
    orders.location_key,
    'other' as payment_type,
    'exchange' as vendor_payment_type,
    'completed' as payment_status,
    orders.currency,
    null as vendor_business_date,
    orders.completed_at as paid_at,
    returns.set_off as amount,
    0 as tip,
    null as processing_fee
from {{ ref('int_lightspeed_r__returns') }} as returns
inner join {{ ref('int_lightspeed_r__orders') }} as orders
    on returns.source_id = orders.source_id
    and returns.order_key = orders.order_key
where returns.set_off <> 0
