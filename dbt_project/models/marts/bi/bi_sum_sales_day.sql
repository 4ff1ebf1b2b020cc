{{ bi_view(ref('sum_sales_day'), 'location_id') }}
