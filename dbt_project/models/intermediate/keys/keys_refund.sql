{{ config(facet=['source_id', 'root_key']) }}

-- Some refer to no order, or to one that was never read: the source is then their parent.
select
    refunds.source_id,
    refunds.natural_key,
    refunds.root_key,
    coalesce(sales.id, refunds.source_id) as parent_id
from {{ ref('int_refunds__unioned') }} as refunds
left join {{ ref('keys_sale') }} as sales
    on refunds.source_id = sales.source_id
    and refunds.sale_key = sales.natural_key
