with source as (

    select * from {{ source('raw_clover', 'refunds_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as refund_key,
        payload #>> '{orderRef,id}' as order_key,
        payload #>> '{payment,id}' as payment_key,
        payload #>> '{_context,merchant}' as location_key,
        payload #>> '{employee,id}' as employee_key,

        -- strings
        payload ->> 'status' as refund_status,
        nullif(payload ->> 'reason', '') as reason,

        -- numerics, in minor units
        coalesce((payload ->> 'amount')::numeric, 0) as amount_minor,
        (payload ->> 'taxAmount')::numeric as tax_minor,
        coalesce((payload ->> 'tipAmount')::numeric, 0) as tip_minor,
        coalesce((payload #>> '{serviceChargeAmount,amount}')::numeric, 0) as service_charge_minor,

        -- booleans
        coalesce((payload ->> 'voided')::boolean, false) as is_void,

        -- times
        coalesce(
            {{ from_epoch_ms("payload ->> 'clientCreatedTime'") }}, {{ from_epoch_ms("payload ->> 'createdTime'") }}
        ) as refunded_at,

        -- nested
        payload #> '{lineItems,elements}' as lines

    from source

)

select * from renamed
