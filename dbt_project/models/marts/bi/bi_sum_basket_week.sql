{{ bi_view(ref('sum_basket_week'), 'location_id') }}
