-- Modifiers are selections inside a selection, to any depth; they are void with the selection they are in.
with recursive source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

selections as (

    select
        source.source_id,
        source.natural_key as order_key,
        source.payload #>> '{_context,restaurant}' as location_key,
        "check".value ->> 'guid' as check_key,
        null as parent_selection_key,
        selection.value,
        selection.position,
        coalesce((selection.value ->> 'voided')::boolean, false) as is_void

    from source
    cross join lateral {{ elements("source.payload -> 'checks'") }} as "check" (value)
    cross join lateral {{ elements("\"check\".value -> 'selections'") }} with ordinality as selection (value, position)

    union all

    select
        selections.source_id,
        selections.order_key,
        selections.location_key,
        selections.check_key,
        selections.value ->> 'guid' as parent_selection_key,
        modifier.value,
        modifier.position,
        selections.is_void or coalesce((modifier.value ->> 'voided')::boolean, false) as is_void

    from selections
    cross join lateral {{ elements("selections.value -> 'modifiers'") }} with ordinality as modifier (value, position)

),

renamed as (

    select
        -- ids
        source_id,
        order_key,
        check_key,
        value ->> 'guid' as selection_key,
        parent_selection_key,
        location_key || '|' || (value #>> '{item,guid}') as item_key,
        value #>> '{refundDetails,refundTransaction,guid}' as refund_transaction_key,

        -- strings
        value ->> 'displayName' as item_name,
        value ->> 'selectionType' as selection_type,
        value ->> 'taxInclusion' as tax_inclusion,
        coalesce(value #>> '{voidReason,name}', value #>> '{voidReason,guid}') as void_reason,

        -- numerics
        position as selection_number,
        coalesce((value ->> 'quantity')::numeric, 1) as quantity,
        (value ->> 'receiptLinePrice')::numeric as unit_price,
        coalesce((value ->> 'preDiscountPrice')::numeric, (value ->> 'price')::numeric, 0) as price_before_discount,
        coalesce((value ->> 'price')::numeric, 0) as price,
        coalesce((value ->> 'tax')::numeric, 0) as tax,
        (value #>> '{refundDetails,refundAmount}')::numeric as refund_amount,
        (value #>> '{refundDetails,taxRefundAmount}')::numeric as tax_refund_amount,

        -- booleans
        is_void,
        coalesce((value ->> 'deferred')::boolean, false) as is_deferred,

        -- nested
        value -> 'appliedDiscounts' as applied_discounts

    from selections

)

select * from renamed
