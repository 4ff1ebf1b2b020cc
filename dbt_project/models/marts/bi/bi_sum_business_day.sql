{{ bi_view(ref('sum_business_day'), 'business_id') }}
