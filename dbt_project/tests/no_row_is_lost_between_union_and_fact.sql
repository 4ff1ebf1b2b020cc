-- Every order, line, payment, discount and refund of the tills is one row of its fact: no join drops or doubles any.
with counts as (
{% for union, fact in [
    ('int_sales__unioned', 'fct_sale'),
    ('int_sale_items__unioned', 'fct_sale_item'),
    ('int_payments__unioned', 'fct_payment'),
    ('int_discounts__unioned', 'fct_discount'),
    ('int_refunds__unioned', 'fct_refund'),
    ('int_refund_items__unioned', 'fct_refund_item'),
] %}
    select
        '{{ fact }}' as fact,
        (select count(*) from {{ ref(union) }}) as rows_of_tills,
        (select count(*) from {{ ref(fact) }}) as rows_of_fact
    {% if not loop.last %}union all{% endif %}
{% endfor %}
)

select * from counts
where rows_of_tills <> rows_of_fact
