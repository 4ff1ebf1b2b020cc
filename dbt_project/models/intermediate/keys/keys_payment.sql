{{ config(facet=['source_id', 'root_key']) }}

-- Some refer to no order, or to one that was never read: the source is then their parent.
select
    payments.source_id,
    payments.natural_key,
    payments.root_key,
    coalesce(sales.id, payments.source_id) as parent_id
from {{ ref('int_payments__unioned') }} as payments
left join {{ ref('keys_sale') }} as sales
    on payments.source_id = sales.source_id
    and payments.sale_key = sales.natural_key
