with source as (

    select * from {{ source('raw_clover', 'credits_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as credit_key,
        payload #>> '{orderRef,id}' as order_key,
        payload #>> '{_context,merchant}' as location_key,
        payload #>> '{employee,id}' as employee_key,

        -- strings
        payload ->> 'result' as result,
        nullif(payload ->> 'reason', '') as reason,

        -- numerics, in minor units
        coalesce((payload ->> 'amount')::numeric, 0) as amount_minor,
        coalesce((payload ->> 'taxAmount')::numeric, 0) as tax_minor,

        -- booleans
        coalesce((payload ->> 'voided')::boolean, false) as is_void,

        -- times
        coalesce(
            {{ from_epoch_ms("payload ->> 'clientCreatedTime'") }}, {{ from_epoch_ms("payload ->> 'createdTime'") }}
        ) as credited_at

    from source

)

select * from renamed
