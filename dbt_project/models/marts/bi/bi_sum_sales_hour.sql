{{ bi_view(ref('sum_sales_hour'), 'location_id') }}
