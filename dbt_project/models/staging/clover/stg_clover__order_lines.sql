with source as (

    select
        source_id,
        natural_key,
        payload #> '{lineItems,elements}' as lines,
        false as is_deleted
    from {{ source('raw_clover', 'orders_current') }}

    union all

    select
        source_id,
        natural_key,
        payload #> '{lineItems,elements}' as lines,
        true as is_deleted
    from {{ source('raw_clover', 'deleted_orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'id' as line_key,
        line.value #>> '{item,id}' as item_key,

        -- strings
        line.value ->> 'name' as item_name,

        -- numerics: amounts are in minor units, a quantity in thousandths, a percentage in parts of one
        line.position as line_number,
        (line.value ->> 'price')::numeric as price_minor,
        (line.value ->> 'unitQty')::numeric / 1000 as quantity,
        (line.value ->> 'percentage')::numeric / 1000000 as fee_rate,

        -- booleans
        source.is_deleted,
        coalesce((line.value ->> 'exchanged')::boolean, false) as is_exchanged,
        coalesce((line.value ->> 'isRevenue')::boolean, true) as is_revenue,
        coalesce((line.value ->> 'isOrderFee')::boolean, false) as is_order_fee,

        -- nested
        line.value #> '{modifications,elements}' as modifications,
        line.value #> '{discounts,elements}' as discounts,
        line.value #> '{taxRates,elements}' as tax_rates

    from source
    cross join lateral {{ elements('source.lines') }} with ordinality as line (value, position)

)

select * from renamed
