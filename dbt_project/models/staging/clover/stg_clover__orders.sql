-- A deleted order is in a list of its own; its last state in the other one stays as well.
with source as (

    select
        source_id,
        natural_key,
        payload,
        modified_at,
        false as is_deleted
    from {{ source('raw_clover', 'orders_current') }}

    union all

    select
        source_id,
        natural_key,
        payload,
        modified_at,
        true as is_deleted
    from {{ source('raw_clover', 'deleted_orders_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as order_key,
        payload #>> '{_context,merchant}' as location_key,
        payload #>> '{employee,id}' as employee_key,
        payload #>> '{device,id}' as device_key,

        -- strings
        lower(payload ->> 'state') as order_state,
        payload ->> 'paymentState' as payment_state,
        payload ->> 'currency' as currency,
        nullif(payload ->> 'title', '') as order_number,
        payload #>> '{orderType,label}' as order_type,
        payload #>> '{orderType,systemOrderTypeId}' as system_order_type,

        -- numerics: amounts are in minor units, percentages are parts of one
        (payload ->> 'total')::numeric as total_minor,
        coalesce(
            (payload #>> '{serviceCharge,percentageDecimal}')::numeric / 1000000,
            (payload #>> '{serviceCharge,percentage}')::numeric / 100
        ) as service_charge_rate,

        -- booleans
        is_deleted,
        coalesce((payload ->> 'testMode')::boolean, false) as is_test,
        coalesce((payload ->> 'isVat')::boolean, false) as is_vat,
        coalesce((payload ->> 'taxRemoved')::boolean, false) as is_tax_removed,
        coalesce((payload #>> '{serviceCharge,isAutoApplied}')::boolean, false) as is_gratuity,

        -- times
        coalesce(
            {{ from_epoch_ms("payload ->> 'clientCreatedTime'") }}, {{ from_epoch_ms("payload ->> 'createdTime'") }}
        ) as created_at,
        modified_at,

        -- nested
        payload #> '{discounts,elements}' as discounts

    from source

)

select * from renamed
