{{ bi_view(ref('sum_basket_day'), 'location_id') }}
