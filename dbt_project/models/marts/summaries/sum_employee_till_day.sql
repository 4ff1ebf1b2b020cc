{{
    config(
        unique_key=['location_id', 'employee_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
    )
}}

-- Each measure belongs to whoever did it: the sale to who took the order, a discount to who gave or approved it, a void to
-- who took the line off, a refund to who gave the money back.
with sales as (

    select
        location_id,
        employee_id,
        business_date,
        currency,
        sum(order_count) as order_count,
        sum(gross_sales) as gross_sales,
        sum(net_sales) as net_sales_before_returns
    from {{ ref('fct_sale') }}
    group by location_id, employee_id, business_date, currency

),

discounts as (

    select
        location_id,
        employee_id,
        business_date,
        currency,
        count(distinct sale_id) filter (where discount <> 0) as discounted_order_count,
        sum(discount) as discount,
        count(distinct sale_id) filter (where comp <> 0) as comped_order_count,
        sum(comp) as comp
    from {{ ref('fct_discount') }}
    group by location_id, employee_id, business_date, currency

),

voids as (

    select
        lines.location_id,
        lines.employee_id,
        lines.business_date,
        lines.currency,
        sum(lines.void_count) as void_count,
        sum(lines.void_amount) as void_amount,
        count(distinct lines.sale_id) filter (where sales.sale_status = 'void') as voided_order_count,
        coalesce(sum(lines.void_amount) filter (where sales.sale_status = 'void'), 0) as voided_order_amount
    from {{ ref('fct_sale_item') }} as lines
    inner join {{ ref('fct_sale') }} as sales
        on lines.sale_id = sales.sale_id
        and lines.location_id = sales.location_id
        and lines.business_date = sales.business_date
    where lines.line_status = 'void'
    group by lines.location_id, lines.employee_id, lines.business_date, lines.currency

),

refunds as (

    select
        location_id,
        employee_id,
        business_date,
        currency,
        count(*) as refund_count,
        sum(returns) as returns,
        sum(amount_refunded) as amount_refunded
    from {{ ref('fct_refund') }}
    group by location_id, employee_id, business_date, currency

),

people as (

    {% for part in ['sales', 'discounts', 'voids', 'refunds'] -%}
    select
        location_id,
        employee_id,
        business_date,
        currency
    from {{ part }}
    {{ 'union' if not loop.last }}
    {% endfor %}
)

select
    people.location_id,
    coalesce(people.employee_id, {{ business_id_of('people.location_id') }}) as employee_id,
    people.business_date,
    people.currency,
    {{ business_id_of('people.location_id') }} as business_id,
    people.employee_id is not null as is_employee_known,
    coalesce(sales.order_count, 0) as order_count,
    coalesce(sales.gross_sales, 0) as gross_sales,
    coalesce(sales.net_sales_before_returns, 0) as net_sales_before_returns,
    coalesce(discounts.discounted_order_count, 0) as discounted_order_count,
    coalesce(discounts.discount, 0) as discount,
    coalesce(discounts.comped_order_count, 0) as comped_order_count,
    coalesce(discounts.comp, 0) as comp,
    coalesce(voids.void_count, 0) as void_count,
    coalesce(voids.void_amount, 0) as void_amount,
    coalesce(voids.voided_order_count, 0) as voided_order_count,
    coalesce(voids.voided_order_amount, 0) as voided_order_amount,
    coalesce(refunds.refund_count, 0) as refund_count,
    coalesce(refunds.returns, 0) as returns,
    coalesce(refunds.amount_refunded, 0) as amount_refunded,
    round(discounts.discount / nullif(sales.gross_sales, 0), 4) as discount_pct,
    round(voids.void_amount / nullif(sales.gross_sales + voids.void_amount, 0), 4) as void_pct
from people
{% for part in ['sales', 'discounts', 'voids', 'refunds'] -%}
left join {{ part }}
    on people.location_id = {{ part }}.location_id
    and people.employee_id is not distinct from {{ part }}.employee_id
    and people.business_date = {{ part }}.business_date
    and people.currency = {{ part }}.currency
{% endfor %}
