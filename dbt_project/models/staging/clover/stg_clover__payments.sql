with source as (

    select * from {{ source('raw_clover', 'payments_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as payment_key,
        payload #>> '{order,id}' as order_key,
        payload #>> '{_context,merchant}' as location_key,

        -- strings
        payload ->> 'result' as result,
        payload #>> '{tender,labelKey}' as tender,
        payload #>> '{tender,label}' as tender_name,
        payload #>> '{cardTransaction,cardType}' as card_type,

        -- numerics, in minor units
        coalesce((payload ->> 'amount')::numeric, 0) as amount_minor,
        (payload ->> 'tipAmount')::numeric as tip_minor,
        (payload ->> 'taxAmount')::numeric as tax_minor,
        (payload #>> '{serviceCharge,amount}')::numeric as service_charge_minor,

        -- booleans
        coalesce(payload ->> 'result' in ('SUCCESS', 'VOID_FAILED'), false) as is_taken,

        -- times
        coalesce(
            {{ from_epoch_ms("payload ->> 'clientCreatedTime'") }}, {{ from_epoch_ms("payload ->> 'createdTime'") }}
        ) as paid_at,
        modified_at

    from source

)

select * from renamed
