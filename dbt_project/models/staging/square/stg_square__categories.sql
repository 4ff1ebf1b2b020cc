with source as (

    select * from {{ source('raw_square', 'catalog_current') }}
    where payload ->> 'type' = 'CATEGORY'

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as category_key,

        -- strings
        payload #>> '{category_data,name}' as category_name

    from source

)

select * from renamed
