with source as (

    select * from {{ source('raw_lightspeed_r', 'sales_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as order_key,
        payload ->> 'saleID' as sale_id,
        payload ->> 'shopID' as location_key,
        nullif(payload ->> 'employeeID', '0') as employee_key,

        -- strings
        nullif(payload ->> 'ticketNumber', '') as ticket_number,
        nullif(payload ->> 'referenceNumberSource', '') as reference_source,

        -- numerics: of all lines together, rounded by the till; those that come back are negative
        coalesce((payload ->> 'calcTotal')::numeric, 0) as total,
        coalesce((payload ->> 'calcDiscount')::numeric, 0) as discount,
        coalesce((payload ->> 'calcTax1')::numeric, 0) + coalesce((payload ->> 'calcTax2')::numeric, 0) as tax,

        -- booleans
        coalesce(nullif(payload ->> 'completed', '')::boolean, false) as is_completed,
        coalesce(nullif(payload ->> 'voided', '')::boolean, false) as is_void,
        coalesce(nullif(payload ->> 'archived', '')::boolean, false) as is_archived,
        coalesce(nullif(payload ->> 'isTaxInclusive', '')::boolean, false) as is_tax_inclusive,

        -- times
        nullif(payload ->> 'createTime', '')::timestamptz as created_at,
        nullif(payload ->> 'completeTime', '')::timestamptz as completed_at,
        modified_at

    from source

)

select * from renamed
