{{ config(facet=['source_id', 'root_key']) }}

-- Also sites that only an order names: their sales count before the vendor's list of sites was read.
select
    source_id,
    natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_locations__unioned') }}

union

select
    source_id,
    location_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_sales__unioned') }}

union

select
    source_id,
    location_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_payments__unioned') }}

union

select
    source_id,
    location_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_refunds__unioned') }}

union

select
    source_id,
    location_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_shifts__unioned') }}

union

select
    source_id,
    location_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_reviews__unioned') }}
