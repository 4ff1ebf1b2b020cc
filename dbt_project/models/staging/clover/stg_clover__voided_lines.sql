with source as (

    select * from {{ source('raw_clover', 'voided_lines_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as line_key,
        payload #>> '{lineItem,orderRef,id}' as order_key,
        payload #>> '{lineItem,item,id}' as item_key,
        payload #>> '{removedBy,id}' as removed_by_key,

        -- strings
        payload #>> '{lineItem,name}' as item_name,
        payload ->> 'reason' as void_reason,

        -- numerics: amounts are in minor units, a quantity in thousandths
        (payload #>> '{lineItem,price}')::numeric as price_minor,
        (payload #>> '{lineItem,unitQty}')::numeric / 1000 as quantity,

        -- booleans
        coalesce((payload #>> '{lineItem,isRevenue}')::boolean, true) as is_revenue,

        -- times
        {{ from_epoch_ms("payload ->> 'deletedTime'") }} as voided_at,

        -- nested
        payload #> '{lineItem,modifications,elements}' as modifications,
        payload #> '{lineItem,taxRates,elements}' as tax_rates

    from source

)

select * from renamed
