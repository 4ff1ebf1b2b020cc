with source as (

    select * from {{ source('raw_square', 'payments_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as payment_key,
        payload ->> 'order_id' as order_key,
        payload ->> 'location_id' as location_key,
        coalesce(payload ->> 'team_member_id', payload ->> 'employee_id') as employee_key,

        -- strings
        payload ->> 'status' as payment_status,
        payload ->> 'source_type' as tender_type,
        payload #>> '{card_details,card,card_brand}' as card_brand,
        coalesce(payload #>> '{total_money,currency}', payload #>> '{amount_money,currency}') as currency,

        -- numerics
        {{ from_minor_units("(payload -> 'amount_money')") }} as amount,
        {{ from_minor_units("(payload -> 'tip_money')") }} as tip,
        (
            select sum({{ from_minor_units("(fee.value -> 'amount_money')") }})
            from {{ elements("payload -> 'processing_fee'") }} as fee (value)  -- noqa: AL05
        ) as processing_fee,

        -- times
        (payload ->> 'created_at')::timestamptz as created_at

    from source

)

select * from renamed
