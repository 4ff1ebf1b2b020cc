with source as (

    select * from {{ source('raw_square', 'refunds_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as refund_key,
        payload ->> 'order_id' as order_key,
        payload ->> 'payment_id' as payment_key,
        payload ->> 'location_id' as location_key,
        payload ->> 'team_member_id' as employee_key,

        -- strings
        payload ->> 'status' as refund_status,
        payload ->> 'reason' as reason,
        payload #>> '{amount_money,currency}' as currency,

        -- numerics
        {{ from_minor_units("(payload -> 'amount_money')") }} as amount,

        -- times
        (payload ->> 'created_at')::timestamptz as created_at

    from source

)

select * from renamed
