-- Selections whose price was given back, where the till was told which.
select
    selections.source_id,
    selections.order_key || '|' || selections.refund_transaction_key as refund_key,
    selections.order_key || '|' || selections.selection_key as natural_key,
    selections.order_key as sale_key,
    selections.order_key || '|' || selections.selection_key as sale_item_key,
    selections.item_key,
    case when selections.is_deferred then 'gift_card' else 'item' end as line_type,
    selections.item_name,
    null as variation_name,
    checks.currency,
    selections.quantity,
    selections.refund_amount as amount,
    coalesce(selections.tax_refund_amount, 0) as tax
from {{ ref('stg_toast__selections') }} as selections
inner join {{ ref('int_toast__checks') }} as checks
    on selections.source_id = checks.source_id
    and selections.order_key = checks.order_key
    and selections.check_key = checks.check_key
-- the amount of a selection has those of its modifiers in it
where selections.refund_amount <> 0 and selections.parent_selection_key is null
