{% set changed = ['sum_employee_till_day', 'sum_sales_day'] %}
-- What employees did at the tills adds up to the location's days, nobody's part with number 0 of the business.
with employees as (

    select
        location_id,
        currency,
        sum(order_count) as order_count,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(void_count) as void_count,
        sum(void_amount) as void_amount,
        sum(refund_count) as refund_count,
        sum(returns) as returns,
        sum(amount_refunded) as amount_refunded
    from {{ tested_rows(ref('sum_employee_till_day'), ['location_id', 'business_date'], changed) }} as till_days
    group by location_id, currency

),

days as (

    select
        location_id,
        currency,
        sum(order_count) as order_count,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(void_count) as void_count,
        sum(void_amount) as void_amount,
        sum(refund_count) as refund_count,
        sum(returns) as returns,
        sum(amount_refunded) as amount_refunded
    from {{ tested_rows(ref('sum_sales_day'), ['location_id', 'business_date'], changed) }} as sum_sales_day
    group by location_id, currency

)

select
    location_id,
    currency
from employees
full join days using (location_id, currency)
where
    {%- set measures = [
        'order_count', 'gross_sales', 'discount', 'comp', 'void_count', 'void_amount', 'refund_count', 'returns', 'amount_refunded'
    ] %}
    {% for measure in measures -%}
    {{ 'or ' if not loop.first }}coalesce(employees.{{ measure }}, 0) <> coalesce(days.{{ measure }}, 0)
    {% endfor %}
