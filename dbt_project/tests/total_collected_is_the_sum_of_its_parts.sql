-- Net product sales, net sales and what was collected, from their parts, on every summary row.
{% for summary in ['sum_sales_hour', 'sum_sales_day'] %}
select
    '{{ summary }}' as summary,
    location_id,
    business_date,
    currency
from {{ tested_rows(ref(summary), ['location_id', 'business_date'], [summary]) }} as {{ summary }}
where
    net_product_sales <> gross_sales - discount - returns
    or net_sales <> net_product_sales + service_charge
    or tax <> tax_included + tax_added - tax_returned
    or comp > discount
    or total_collected
    <> net_sales + tax + coalesce(tip, 0) + gratuity + gift_card_sold + donations + rounding - refund_unitemised
{% if not loop.last %}union all{% endif %}
{% endfor %}
