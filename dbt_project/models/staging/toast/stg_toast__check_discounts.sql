with source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        "check".value ->> 'guid' as check_key,
        discount.value ->> 'guid' as applied_key,
        discount.value #>> '{discount,guid}' as discount_key,
        discount.value #>> '{approver,guid}' as employee_key,

        -- strings
        discount.value ->> 'name' as discount_name,
        lower(discount.value ->> 'discountType') as discount_type,
        discount.value #>> '{appliedDiscountReason,name}' as reason,

        -- numerics
        coalesce(
            (discount.value ->> 'nonTaxDiscountAmount')::numeric, (discount.value ->> 'discountAmount')::numeric, 0
        ) as discount

    from source
    cross join lateral {{ elements("source.payload -> 'checks'") }} as "check" (value)
    cross join lateral {{ elements("\"check\".value -> 'appliedDiscounts'") }} as discount (value)

)

select * from renamed
