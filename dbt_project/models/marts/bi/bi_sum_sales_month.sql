{{ bi_view(ref('sum_sales_month'), 'location_id') }}
