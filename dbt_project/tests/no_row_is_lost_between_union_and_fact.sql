-- Every order, line, payment, discount and refund of the tills is one row of its fact: no join drops or doubles any.
with counts as (

    select
        'fct_sale' as fact,
        (select count(*) from {{ ref('int_sales__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_sale') }}) as rows_of_fact

    union all

    select
        'fct_sale_item' as fact,
        (select count(*) from {{ ref('int_sale_items__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_sale_item') }}) as rows_of_fact

    union all

    select
        'fct_payment' as fact,
        (select count(*) from {{ ref('int_payments__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_payment') }}) as rows_of_fact

    union all

    select
        'fct_discount' as fact,
        (select count(*) from {{ ref('int_discounts__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_discount') }}) as rows_of_fact

    union all

    select
        'fct_refund' as fact,
        (select count(*) from {{ ref('int_refunds__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_refund') }}) as rows_of_fact

    union all

    select
        'fct_refund_item' as fact,
        (select count(*) from {{ ref('int_refund_items__unioned') }}) as rows_of_tills,
        (select count(*) from {{ ref('fct_refund_item') }}) as rows_of_fact

)

select * from counts
where rows_of_tills <> rows_of_fact
