with source as (

    select * from {{ source('raw_lightspeed_r', 'items_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as item_key,

        -- strings
        nullif(payload ->> 'description', '') as item_name,
        nullif(payload #>> '{Category,name}', '') as category_name,
        nullif(payload ->> 'customSku', '') as custom_sku,
        nullif(payload ->> 'systemSku', '') as system_sku,

        -- numerics
        (
            jsonb_path_query_first(payload, '$.Prices.ItemPrice[*] ? (@.useType == "Default").amount') #>> '{}'
        )::numeric as default_price,

        -- booleans
        coalesce(nullif(payload ->> 'archived', '')::boolean, false) as is_archived

    from source

)

select * from renamed
