{{ bi_view(ref('dim_employee'), 'employee_id') }}
