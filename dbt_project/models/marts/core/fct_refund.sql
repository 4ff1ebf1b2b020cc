{{
    config(
        unique_key=['refund_id'],
        facet=['source_id', 'root_key'],
        facet_from=employee_facets('int_refunds__unioned', {
            'int_source_locations__dated': "
                select refunds.source_id, refunds.root_key
                from changed inner join int_refunds__unioned as refunds using (source_id, location_key)
            ",
            'keys_payment': "
                select refunds.source_id, refunds.root_key
                from changed
                inner join int_refunds__unioned as refunds
                    on refunds.source_id = changed.source_id and refunds.payment_key = changed.natural_key
            ",
        }),
        indexes=[{'columns': ['sale_id']}, {'columns': ['source_id', 'refund_key'], 'unique': true}],
    )
}}

with refunds as (

    select
        refunds.*,
        sales.sale_id,
        sales.source_employee_id,
        sales.employee_id,
        sales.business_date as original_business_date,
        placed.source_location_id,
        placed.location_id,
        placed.business_date,
        date_trunc('hour', refunds.refunded_at, placed.timezone) as hour_start,
        date_trunc('hour', refunds.refunded_at at time zone placed.timezone) as local_hour
    from {{ ref('int_refunds__unioned') }} as refunds
    left join {{ ref('int_sales__dated') }} as sales
        on refunds.source_id = sales.source_id
        and refunds.sale_key = sales.sale_key
    {{ place_in_business_day('refunds', 'refunds.refunded_at', 'refunds.vendor_business_date') }}

)

select
    keys.id as refund_id,
    refunds.sale_id,
    payment_keys.id as payment_id,
    refunds.source_id,
    refunds.root_key,
    refunds.source_location_id,
    refunds.location_id,
    {{ employee_or_inherited('refunds') }},
    refunds.natural_key as refund_key,
    refunds.reason,
    refunds.refunded_at,
    refunds.hour_start,
    refunds.local_hour,
    refunds.business_date,
    refunds.original_business_date,
    refunds.currency::text as currency,
    refunds.returns,
    refunds.refund_unitemised,
    refunds.tax_returned,
    refunds.tip_returned,
    refunds.service_charge_returned,
    refunds.gratuity_returned,
    refunds.gift_card_returned,
    refunds.donations_returned,
    refunds.rounding_returned,
    refunds.amount_refunded
from refunds
inner join {{ ref('keys_refund') }} as keys
    on refunds.source_id = keys.source_id
    and refunds.natural_key = keys.natural_key
left join {{ ref('keys_payment') }} as payment_keys
    on refunds.source_id = payment_keys.source_id
    and refunds.payment_key = payment_keys.natural_key
{{ join_employee('refunds', 'refunds.business_date') }}
