{{ bi_view(ref('sum_employee_till_day'), 'location_id') }}
