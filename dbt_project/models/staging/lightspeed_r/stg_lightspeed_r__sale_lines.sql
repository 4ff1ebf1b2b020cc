with source as (

    select
        source_id,
        natural_key,
        payload #> '{SaleLines,SaleLine}' as sale_lines
    from {{ source('raw_lightspeed_r', 'sales_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'saleLineID' as line_key,
        nullif(line.value ->> 'parentSaleLineID', '0') as parent_line_key,
        nullif(line.value ->> 'itemID', '0') as item_key,
        nullif(line.value ->> 'employeeID', '0') as employee_key,
        nullif(line.value ->> 'discountID', '0') as discount_key,

        -- strings
        coalesce(
            nullif(line.value #>> '{Item,description}', ''), nullif(line.value #>> '{Note,note}', '')
        ) as item_name,
        nullif(line.value #>> '{Discount,name}', '') as discount_name,
        case
            when (line.value ->> 'discountPercent')::numeric <> 0 then 'percent'
            when (line.value ->> 'discountAmount')::numeric <> 0 then 'amount'
        end as discount_type,

        -- numerics: to more decimals than the currency has
        line.position as line_number,
        (line.value ->> 'unitQuantity')::numeric as quantity,
        coalesce((line.value ->> 'displayableUnitPrice')::numeric, (line.value ->> 'unitPrice')::numeric) as unit_price,
        coalesce((line.value ->> 'calcLineDiscount')::numeric, 0) as line_discount,
        coalesce((line.value ->> 'calcTransactionDiscount')::numeric, 0) as transaction_discount,
        coalesce((line.value ->> 'calcTax1')::numeric, 0) + coalesce((line.value ->> 'calcTax2')::numeric, 0) as tax,
        coalesce((line.value ->> 'calcTotal')::numeric, 0) as total

    from source
    cross join lateral {{ elements(one_or_many('source.sale_lines')) }} with ordinality as line (value, position)

)

select * from renamed
