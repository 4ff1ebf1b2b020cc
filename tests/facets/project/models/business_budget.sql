-- Without a facet, and the only one that reads its source.
{{ config(unique_key='business_id') }}
select
    business_id,
    monthly,
    rank() over (order by monthly desc, business_id) as place
from {{ source('raw', 'budget') }}
