with movements as (

    select
        location_id,
        business_date,
        currency,
        gross_sales,
        discount,
        0 as returns,
        service_charge,
        0 as refund_unitemised
    from {{ ref('fct_sale') }}

    union all

    select
        location_id,
        coalesce(original_business_date, business_date) as business_date,
        currency,
        0 as gross_sales,
        0 as discount,
        returns,
        -service_charge_returned as service_charge,
        refund_unitemised
    from {{ ref('fct_refund') }}

)

select
    movements.location_id,
    movements.location_id::text as location_id_text,
    movements.business_date,
    movements.currency,
    sum(movements.gross_sales) as gross_sales,
    sum(movements.discount) as discount,
    sum(movements.returns) as returns,
    sum(movements.gross_sales - movements.discount - movements.returns) as net_product_sales,
    sum(movements.service_charge) as service_charge,
    sum(movements.gross_sales - movements.discount - movements.returns + movements.service_charge) as net_sales,
    sum(movements.refund_unitemised) as refund_unitemised
from movements
{{ active_business('movements.location_id') }}
group by movements.location_id, movements.business_date, movements.currency
