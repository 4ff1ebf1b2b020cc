{{ bi_view(ref('sum_tender_day'), 'location_id') }}
