{{
    config(
        unique_key=['sale_id'],
        facet=['source_id', 'root_key'],
    )
}}

with lines as (

    select
        sale_id,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(tax_included) as tax_included,
        sum(gift_card_sold) as gift_card_sold,
        sum(donations) as donations,
        sum(void_amount) as void_amount,
        sum(void_count) as void_count,
        sum(open_sales) as open_sales
    from {{ ref('fct_sale_item') }}
    group by sale_id

),

-- What the order bears beside its lines counts once it is closed.
sales as (

    select
        *,
        sale_status = 'completed' as is_counted,
        case when sale_status = 'completed' then service_charge else 0 end as counted_service_charge,
        case when sale_status = 'completed' then gratuity else 0 end as counted_gratuity,
        case when sale_status = 'completed' then tax else 0 end as counted_tax,
        case when sale_status = 'completed' then tip end as counted_tip,
        case when sale_status = 'completed' then rounding else 0 end as counted_rounding
    from {{ ref('int_sales__dated') }}

)

select
    sales.sale_id,
    sales.source_id,
    sales.root_key,
    sales.source_location_id,
    sales.location_id,
    sales.source_employee_id,
    sales.employee_id,
    sales.sale_key,
    sales.order_number,
    sales.sale_status,
    sales.channel,
    sales.vendor_channel,
    sales.till_name,
    sales.opened_at,
    sales.closed_at,
    sales.local_counted_at,
    sales.hour_start,
    sales.local_hour,
    sales.business_date,
    sales.currency::text as currency,
    case when sales.is_counted then 1 else 0 end as order_count,
    case when sales.is_counted then sales.covers end as covers,
    coalesce(lines.gross_sales, 0) as gross_sales,
    coalesce(lines.discount, 0) as discount,
    coalesce(lines.comp, 0) as comp,
    coalesce(lines.gross_sales - lines.discount, 0) as net_product_sales,
    sales.counted_service_charge as service_charge,
    coalesce(lines.gross_sales - lines.discount, 0) + sales.counted_service_charge as net_sales,
    coalesce(lines.tax_included, 0) as tax_included,
    sales.counted_tax - coalesce(lines.tax_included, 0) as tax_added,  -- that of charges is on no line
    sales.counted_tax as tax,
    sales.counted_tip as tip,
    sales.counted_gratuity as gratuity,
    coalesce(lines.gift_card_sold, 0) as gift_card_sold,
    coalesce(lines.donations, 0) as donations,
    sales.counted_rounding as rounding,
    coalesce(
        lines.gross_sales - lines.discount + lines.gift_card_sold + lines.donations,
        0
    )
    + sales.counted_service_charge
    + sales.counted_tax
    + coalesce(sales.counted_tip, 0)
    + sales.counted_gratuity
    + sales.counted_rounding as total_collected,
    coalesce(lines.void_amount, 0) as void_amount,
    coalesce(lines.void_count, 0)::integer as void_count,
    coalesce(lines.open_sales, 0) as open_sales
from sales
left join lines
    on sales.sale_id = lines.sale_id
