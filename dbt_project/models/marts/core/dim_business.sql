{{ config(unique_key=['business_id']) }}

select
    business_id,
    business_number,
    business_slug,
    business_name,
    reporting_currency,
    first_weekday
from {{ ref('stg_shard__businesses') }}
