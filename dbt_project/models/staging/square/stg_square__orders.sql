with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as order_key,
        payload ->> 'location_id' as location_key,

        -- strings
        payload ->> 'state' as order_state,
        coalesce(
            payload #>> '{total_money,currency}',
            payload #>> '{return_amounts,total_money,currency}',
            payload #>> '{net_amounts,total_money,currency}'
        ) as currency,
        payload ->> 'ticket_name' as order_number,
        payload #>> '{source,name}' as till_name,
        payload #>> '{fulfillments,0,type}' as fulfillment_type,

        -- numerics
        {{ from_minor_units("(payload -> 'total_money')") }} as total,
        {{ from_minor_units("(payload -> 'total_tax_money')") }} as tax,
        {{ from_minor_units("(payload -> 'total_tip_money')") }} as tip,
        {{ from_minor_units("(payload #> '{rounding_adjustment,amount_money}')") }} as rounding,

        -- booleans
        payload #> '{line_items,0}' is not null as has_lines,
        payload #> '{service_charges,0}' is not null as has_service_charges,
        payload #> '{returns,0}' is not null as has_returns,
        payload #> '{tenders,0}' is not null
        and not jsonb_path_exists(
            payload, '$.tenders[*] ? (@.type != "CASH" || @.tip_money.amount > 0)'
        ) as is_cash_without_tips,

        -- times
        (payload ->> 'created_at')::timestamptz as created_at,
        (payload ->> 'closed_at')::timestamptz as closed_at,
        modified_at

    from source

)

select * from renamed
