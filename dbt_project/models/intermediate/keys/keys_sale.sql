select
    source_id,
    natural_key,
    source_id as parent_id
from {{ ref('int_sales__unioned') }}
