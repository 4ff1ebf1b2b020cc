{{ bi_view(ref('sum_sales_like_for_like_month'), 'location_id') }}
