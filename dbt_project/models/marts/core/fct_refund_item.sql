{{
    config(
        unique_key=['refund_id', 'returned_line_key'],
        facet=['source_id', 'root_key'],
        facet_from={
            'keys_sale_item': "
                select lines.source_id, lines.root_key
                from changed
                inner join int_refund_items__unioned as lines
                    on lines.source_id = changed.source_id and lines.sale_item_key = changed.natural_key
            ",
            'keys_source_item': "
                select lines.source_id, lines.root_key
                from changed
                inner join int_refund_items__unioned as lines on lines.source_id = changed.source_id and lines.item_key = changed.natural_key
            ",
            'keys_item_map': "
                select lines.source_id, lines.root_key
                from changed
                inner join keys_source_item as items on items.id = changed.source_item_id
                inner join int_refund_items__unioned as lines on lines.source_id = items.source_id and lines.item_key = items.natural_key
            ",
        },
    )
}}

select
    refunds.refund_id,
    lines.natural_key as returned_line_key,
    line_keys.id as sale_item_id,
    refunds.sale_id,
    refunds.source_id,
    refunds.root_key,
    refunds.source_location_id,
    refunds.location_id,
    source_items.id as source_item_id,
    coalesce(item_map.item_id, {{ business_id_of('lines.source_id') }}) as item_id,
    lines.line_type,
    lines.item_name,
    lines.variation_name,
    refunds.business_date,
    refunds.hour_start,
    refunds.local_hour,
    refunds.original_business_date,
    lines.currency::text as currency,
    case when lines.line_type in ('gift_card', 'donation') then 0 else lines.quantity end as returned_quantity,
    case when lines.line_type in ('gift_card', 'donation') then 0 else lines.amount end as returns,
    lines.tax as tax_returned,
    case when lines.line_type = 'gift_card' then lines.amount else 0 end as gift_card_returned,
    case when lines.line_type = 'donation' then lines.amount else 0 end as donations_returned
from {{ ref('int_refund_items__unioned') }} as lines
inner join {{ ref('fct_refund') }} as refunds
    on lines.source_id = refunds.source_id
    and lines.refund_key = refunds.refund_key
left join {{ ref('keys_sale_item') }} as line_keys
    on lines.source_id = line_keys.source_id
    and lines.sale_item_key = line_keys.natural_key
left join {{ ref('keys_source_item') }} as source_items
    on lines.source_id = source_items.source_id
    and lines.item_key = source_items.natural_key
left join {{ ref('keys_item_map') }} as item_map
    on source_items.id = item_map.source_item_id
    and refunds.business_date >= item_map.valid_from
    and refunds.business_date < item_map.valid_to
