{{ config(facet=['source_id', 'root_key']) }}

-- Also articles that only a line names: taken off the catalogue before it was first read, or modifiers.
select
    source_id,
    natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_items__unioned') }}

union

select
    source_id,
    item_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_sale_items__unioned') }}
where item_key is not null

union

select
    source_id,
    item_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_refund_items__unioned') }}
where item_key is not null
