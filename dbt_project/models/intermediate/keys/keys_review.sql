{{ config(facet=['source_id', 'root_key']) }}

select
    source_id,
    natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_reviews__unioned') }}
