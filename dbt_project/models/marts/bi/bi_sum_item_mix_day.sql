{{ bi_view(ref('sum_item_mix_day'), 'location_id') }}
