with source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as order_key,
        payload #>> '{_context,restaurant}' as location_key,
        payload #>> '{server,guid}' as employee_key,

        -- strings
        payload ->> 'displayNumber' as order_number,
        payload ->> 'source' as order_source,
        payload #>> '{diningOption,guid}' as dining_option_key,

        -- numerics
        (payload ->> 'numberOfGuests')::integer as guests,

        -- booleans
        coalesce((payload ->> 'voided')::boolean, false) as is_void,
        coalesce((payload ->> 'deleted')::boolean, false) as is_deleted,
        jsonb_typeof(payload -> 'deliveryInfo') = 'object' as is_delivery,
        jsonb_typeof(payload -> 'table') = 'object' as is_at_table,

        -- dates and times
        to_date(payload ->> 'businessDate', 'YYYYMMDD') as business_date,
        (payload ->> 'openedDate')::timestamptz as opened_at,
        (payload ->> 'paidDate')::timestamptz as paid_at,
        (payload ->> 'closedDate')::timestamptz as closed_at,
        (payload ->> 'voidDate')::timestamptz as voided_at,
        modified_at

    from source

)

select * from renamed
