{{ bi_view(ref('sum_basket_pair_week'), 'location_id') }}
