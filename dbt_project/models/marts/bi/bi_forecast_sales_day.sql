{{ bi_view(ref('forecast_sales_day'), 'location_id') }}
