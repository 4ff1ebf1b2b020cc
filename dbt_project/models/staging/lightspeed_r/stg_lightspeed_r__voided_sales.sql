with source as (

    select * from {{ source('raw_lightspeed_r', 'voided_sales_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as order_key

    from source

)

select * from renamed
