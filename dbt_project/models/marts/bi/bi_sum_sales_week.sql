{{ bi_view(ref('sum_sales_week'), 'location_id') }}
