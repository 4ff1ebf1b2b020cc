{{ config(materialized='ephemeral') }}

with

source as (

    select * from {{ source('python', 'forecast_sales_day') }}

),

renamed as (

    select
        -- ids
        location_id,

        -- strings
        currency,

        -- numerics
        forecast_net_sales,
        weekdays_used,

        -- times
        business_date,
        last_actual_date

    from source

)

select * from renamed
