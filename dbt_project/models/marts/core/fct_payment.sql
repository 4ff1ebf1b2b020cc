{{
    config(
        unique_key=['payment_id'],
        facet=['source_id', 'root_key'],
        facet_from={
            'int_source_locations__dated': "
                select payments.source_id, payments.root_key
                from changed inner join int_payments__unioned as payments using (source_id, location_key)
            ",
        },
        indexes=[{'columns': ['sale_id']}],
    )
}}

-- A payment counts on the day of its sale, so that what was sold and what was paid for it meet on one date.
with payments as (

    select
        payments.*,
        sales.sale_id,
        coalesce(sales.source_location_id, placed.source_location_id) as source_location_id,
        coalesce(sales.location_id, placed.location_id) as location_id,
        coalesce(sales.business_date, placed.business_date) as business_date,
        placed.business_date as paid_business_date,
        coalesce(sales.hour_start, date_trunc('hour', payments.paid_at, placed.timezone)) as hour_start,
        payments.payment_status = 'completed' and coalesce(sales.sale_status, 'completed') <> 'open' as is_collected,
        payments.payment_status = 'completed' and coalesce(sales.sale_status, 'completed') = 'open' as is_deposit,
        payments.amount + coalesce(payments.tip, 0) as total
    from {{ ref('int_payments__unioned') }} as payments
    left join {{ ref('int_sales__dated') }} as sales
        on payments.source_id = sales.source_id
        and payments.sale_key = sales.sale_key
    {{ place_in_business_day('payments', 'payments.paid_at', 'payments.vendor_business_date') }}

)

select
    keys.id as payment_id,
    payments.sale_id,
    payments.source_id,
    payments.root_key,
    payments.source_location_id,
    payments.location_id,
    payments.natural_key as payment_key,
    payments.payment_type,
    payments.vendor_payment_type,
    payments.payment_status,
    payments.paid_at,
    payments.business_date,
    payments.hour_start,
    payments.paid_business_date,
    payments.currency::text as currency,
    case when payments.is_collected then payments.amount else 0 end as amount,
    case when payments.is_collected then payments.tip end as tip,
    case when payments.is_collected then payments.total else 0 end as collected,
    case when payments.is_deposit then payments.total else 0 end as deposit,
    case when payments.payment_status <> 'completed' then payments.total else 0 end as not_collected,
    payments.processing_fee
from payments
inner join {{ ref('keys_payment') }} as keys
    on payments.source_id = keys.source_id
    and payments.natural_key = keys.natural_key
