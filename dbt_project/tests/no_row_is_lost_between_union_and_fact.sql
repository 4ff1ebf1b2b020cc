-- Every order, line, payment, discount and refund of the tills, every review and every mailing is one row of its fact: no
-- join drops or doubles any.
{% set facts = {
    'fct_sale': 'int_sales__unioned',
    'fct_sale_item': 'int_sale_items__unioned',
    'fct_payment': 'int_payments__unioned',
    'fct_discount': 'int_discounts__unioned',
    'fct_refund': 'int_refunds__unioned',
    'fct_refund_item': 'int_refund_items__unioned',
    'fct_review': 'int_reviews__unioned',
    'fct_mailing': 'int_mailings__unioned',
} -%}
{% for fact, records in facts.items() %}
select '{{ fact }}' as fact
from {{ tested_rows(ref(records), ['source_id', 'root_key'], [fact, records]) }} as records
having
    count(*) <> (
        select count(*)
        from {{ tested_rows(ref(fact), ['source_id', 'root_key'], [fact, records]) }} as rows_of_fact
    )
{{ 'union all' if not loop.last }}
{% endfor %}
