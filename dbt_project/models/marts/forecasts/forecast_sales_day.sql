{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        pre_hook="{{ ensure_python_input('forecast_sales_day') }}",
    )
}}

with

forecasts as (

    select * from {{ ref('stg_python__forecast_sales_days') }}

)

select
    location_id,
    business_date,
    currency,
    forecast_net_sales,
    weekdays_used,
    last_actual_date
from forecasts
