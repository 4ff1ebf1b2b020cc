{{
    config(
        materialized='changed_facets',
        unique_key=['sale_id'],
        facet=['source_id', 'root_key'],
        facet_from=employee_facets('int_sales__unioned', {
            'int_source_locations__dated': "
                select sales.source_id, sales.root_key
                from changed inner join int_sales__unioned as sales using (source_id, location_key)
            ",
        }),
        indexes=[{'columns': ['source_id', 'sale_key'], 'unique': true}],
    )
}}

-- Orders with their id, location and business day. Five facts read it.
with sales as (

    select * from {{ ref('int_sales__unioned') }}

)

select
    keys.id as sale_id,
    sales.source_id,
    sales.natural_key as sale_key,
    sales.root_key,
    placed.source_location_id,
    placed.location_id,
    source_employees.id as source_employee_id,
    employee_map.employee_id,
    sales.order_number,
    sales.sale_status,
    sales.channel,
    sales.vendor_channel,
    sales.till_name,
    sales.currency,
    placed.business_date,
    date_trunc('hour', sales.counted_at, placed.timezone) as hour_start,
    date_trunc('hour', sales.counted_at at time zone placed.timezone) as local_hour,
    sales.opened_at,
    sales.closed_at,
    sales.counted_at,
    sales.counted_at at time zone placed.timezone as local_counted_at,
    sales.covers,
    sales.service_charge,
    sales.gratuity,
    sales.tax,
    sales.tip,
    sales.rounding,
    sales.vendor_total
from sales
inner join {{ ref('keys_sale') }} as keys
    on sales.source_id = keys.source_id
    and sales.natural_key = keys.natural_key
{{ place_in_business_day('sales', 'sales.counted_at', 'sales.vendor_business_date') }}
{{ join_employee('sales', 'placed.business_date') }}
