{{ bi_view(ref('fct_shift'), 'shift_id') }}
