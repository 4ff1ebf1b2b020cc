-- Toast's prices of a selection have those of its modifiers in them: here each line bears its own part.
with selections as (

    select
        selections.*,
        checks.currency,
        checks.is_void as is_void_check,
        selections.is_void or checks.is_void as is_void_line
    from {{ ref('stg_toast__selections') }} as selections
    inner join {{ ref('int_toast__checks') }} as checks
        on selections.source_id = checks.source_id
        and selections.order_key = checks.order_key
        and selections.check_key = checks.check_key

),

modifiers_of_selection as (

    select
        modifiers.source_id,
        modifiers.order_key,
        modifiers.parent_selection_key,
        sum(modifiers.price_before_discount) as price_before_discount,
        sum(modifiers.price) as price,
        sum(modifiers.tax) as tax
    from selections as modifiers
    inner join selections as parents
        on modifiers.source_id = parents.source_id
        and modifiers.order_key = parents.order_key
        and modifiers.parent_selection_key = parents.selection_key
    -- a modifier taken off by itself is no longer in the price of its selection
    where modifiers.is_void = parents.is_void
    group by modifiers.source_id, modifiers.order_key, modifiers.parent_selection_key

),

comps as (

    select
        source_id,
        sale_item_key,
        sum(amount) as comp
    from {{ ref('int_toast__discounts') }}
    where is_comp
    group by source_id, sale_item_key

),

-- A selection does not say who voided it. Where the whole check went with its payment, the payment does.
voiders as (

    select
        source_id,
        order_key,
        check_key,
        min(void_employee_key) as employee_key
    from {{ ref('stg_toast__payments') }}
    where void_employee_key is not null
    group by source_id, order_key, check_key

)

select
    selections.source_id,
    selections.order_key || '|' || selections.selection_key as natural_key,
    selections.order_key as sale_key,
    selections.order_key || '|' || selections.parent_selection_key as parent_key,
    selections.item_key,
    selections.selection_number as line_number,
    case
        when
            selections.is_deferred
            or selections.selection_type in ('TOAST_CARD_SELL', 'TOAST_CARD_RELOAD', 'HOUSE_ACCOUNT_PAY_BALANCE')
            then 'gift_card'
        when selections.parent_selection_key is not null then 'modifier'
        when selections.selection_type in ('OPEN_ITEM', 'SPECIAL_REQUEST') then 'custom_amount'
        else 'item'
    end as line_type,
    selections.item_name,
    null as variation_name,
    null as category_name,
    selections.currency,
    selections.quantity,
    selections.unit_price,
    selections.price_before_discount - coalesce(modifiers_of_selection.price_before_discount, 0) as amount,
    (selections.price_before_discount - selections.price)
    - coalesce(modifiers_of_selection.price_before_discount - modifiers_of_selection.price, 0) as discount,
    coalesce(comps.comp, 0) as comp,
    case when selections.tax_inclusion = 'INCLUDED' then selections.tax else 0 end as tax_included,
    case when selections.tax_inclusion = 'INCLUDED' then 0 else selections.tax end as tax_added,
    selections.is_void_line as is_void,
    selections.void_reason,
    case when selections.is_void_check then voiders.employee_key end as employee_key
from selections
left join modifiers_of_selection
    on selections.source_id = modifiers_of_selection.source_id
    and selections.order_key = modifiers_of_selection.order_key
    and selections.selection_key = modifiers_of_selection.parent_selection_key
left join comps
    on selections.source_id = comps.source_id
    and selections.order_key || '|' || selections.selection_key = comps.sale_item_key
left join voiders
    on selections.source_id = voiders.source_id
    and selections.order_key = voiders.order_key
    and selections.check_key = voiders.check_key
