{{ bi_view(ref('sum_marketing_day'), 'business_id') }}
