{{
    config(
        unique_key=['sale_item_id'],
        facet=['source_id', 'root_key'],
        facet_from=employee_facets('int_sale_items__unioned', {
            'keys_source_item': "
                select lines.source_id, lines.root_key
                from changed
                inner join int_sale_items__unioned as lines on lines.source_id = changed.source_id and lines.item_key = changed.natural_key
            ",
            'keys_item_map': "
                select lines.source_id, lines.root_key
                from changed
                inner join keys_source_item as items on items.id = changed.source_item_id
                inner join int_sale_items__unioned as lines on lines.source_id = items.source_id and lines.item_key = items.natural_key
            ",
        }),
        indexes=[{'columns': ['sale_id']}, {'columns': ['item_id', 'business_date']}],
    )
}}

with lines as (

    select
        lines.*,
        sales.sale_id,
        sales.source_location_id,
        sales.location_id,
        sales.source_employee_id,
        sales.employee_id,
        sales.business_date,
        sales.hour_start,
        sales.local_hour,
        case
            when sales.sale_status = 'void' or lines.is_void then 'void'
            else sales.sale_status
        end as line_status,
        lines.line_type in ('item', 'modifier', 'custom_amount') as is_product,
        lines.amount - lines.discount as net_amount
    from {{ ref('int_sale_items__unioned') }} as lines
    inner join {{ ref('int_sales__dated') }} as sales
        on lines.source_id = sales.source_id
        and lines.sale_key = sales.sale_key

),

-- What a line counts as.
counted as (

    select
        *,
        line_status = 'completed' as is_counted,
        line_status = 'completed' and is_product as is_sold,
        line_status = 'void' and is_product as is_voided,
        line_status = 'open' and is_product as is_open
    from lines

)

select
    keys.id as sale_item_id,
    lines.sale_id,
    parent_keys.id as parent_sale_item_id,
    lines.source_id,
    lines.root_key,
    lines.source_location_id,
    lines.location_id,
    {{ employee_or_inherited('lines') }},
    source_items.id as source_item_id,
    coalesce(item_map.item_id, {{ business_id_of('lines.source_id') }}) as item_id,
    lines.line_number,
    lines.line_type,
    lines.line_status,
    lines.item_name,
    lines.variation_name,
    lines.category_name,
    lines.void_reason,
    lines.business_date,
    lines.hour_start,
    lines.local_hour,
    lines.currency::text as currency,
    lines.quantity,
    lines.unit_price,
    case when lines.is_sold then lines.quantity else 0 end as quantity_sold,
    case when lines.is_sold then lines.amount else 0 end as gross_sales,
    case when lines.is_sold then lines.discount else 0 end as discount,
    case when lines.is_sold then lines.comp else 0 end as comp,
    case when lines.is_sold then lines.net_amount else 0 end as net_product_sales,
    case when lines.is_counted then lines.tax_included else 0 end as tax_included,
    case when lines.is_counted then lines.tax_added else 0 end as tax_added,
    case when lines.is_counted then lines.tax_included + lines.tax_added else 0 end as tax,
    case when lines.is_counted and lines.line_type = 'gift_card' then lines.net_amount else 0 end as gift_card_sold,
    case when lines.is_counted and lines.line_type = 'donation' then lines.net_amount else 0 end as donations,
    case when lines.is_voided then lines.amount else 0 end as void_amount,
    case when lines.is_voided and lines.line_type <> 'modifier' then 1 else 0 end as void_count,
    case when lines.is_open then lines.net_amount else 0 end as open_sales
from counted as lines
inner join {{ ref('keys_sale_item') }} as keys
    on lines.source_id = keys.source_id
    and lines.natural_key = keys.natural_key
left join {{ ref('keys_sale_item') }} as parent_keys
    on lines.source_id = parent_keys.source_id
    and lines.parent_key = parent_keys.natural_key
left join {{ ref('keys_source_item') }} as source_items
    on lines.source_id = source_items.source_id
    and lines.item_key = source_items.natural_key
left join {{ ref('keys_item_map') }} as item_map
    on source_items.id = item_map.source_item_id
    and lines.business_date >= item_map.valid_from
    and lines.business_date < item_map.valid_to
{{ join_employee('lines', 'lines.business_date') }}
