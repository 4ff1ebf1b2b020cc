{{
    config(
        unique_key=['discount_id'],
        facet=['source_id', 'root_key'],
        facet_from=employee_facets('int_discounts__unioned'),
        indexes=[{'columns': ['sale_id']}, {'columns': ['location_id', 'business_date']}],
    )
}}

with discounts as (

    select
        discounts.*,
        lines.sale_item_id,
        lines.sale_id,
        lines.source_location_id,
        lines.location_id,
        lines.source_employee_id,
        lines.employee_id,
        lines.item_id,
        lines.business_date,
        lines.line_status = 'completed' and lines.line_type in ('item', 'modifier', 'custom_amount') as is_counted
    from {{ ref('int_discounts__unioned') }} as discounts
    inner join {{ ref('keys_sale_item') }} as line_keys
        on discounts.source_id = line_keys.source_id
        and discounts.sale_item_key = line_keys.natural_key
    inner join {{ ref('fct_sale_item') }} as lines
        on line_keys.id = lines.sale_item_id

)

select
    keys.id as discount_id,
    discounts.sale_item_id,
    discounts.sale_id,
    discounts.source_id,
    discounts.root_key,
    discounts.source_location_id,
    discounts.location_id,
    {{ employee_or_inherited('discounts') }},
    discounts.item_id,
    discounts.discount_key,
    discounts.discount_name,
    discounts.discount_type,
    discounts.discount_scope,
    discounts.is_comp,
    discounts.business_date,
    discounts.currency::text as currency,
    case when discounts.is_counted then discounts.amount else 0 end as discount,
    case when discounts.is_counted and discounts.is_comp then discounts.amount else 0 end as comp
from discounts
inner join {{ ref('keys_discount') }} as keys
    on discounts.source_id = keys.source_id
    and discounts.natural_key = keys.natural_key
{{ join_employee('discounts', 'discounts.business_date') }}
