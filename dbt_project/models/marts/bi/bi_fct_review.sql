{{ bi_view(ref('fct_review'), 'review_id') }}
