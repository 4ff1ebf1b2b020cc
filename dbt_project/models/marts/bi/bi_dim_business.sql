{{ bi_view(ref('dim_business'), 'business_id') }}
