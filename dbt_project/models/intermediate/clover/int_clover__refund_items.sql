-- Lines that a refund names, worth what was paid for them. Clover says the tax of the whole refund: it is spread over the
-- lines by the tax they bore, the remainder on the largest; where it does not say, that tax is what came back.
with returned as (

    select
        given_back.source_id,
        given_back.refund_key,
        given_back.order_key,
        given_back.tax_minor as refund_tax_minor,
        given_back.currency,
        lines.line_key,
        lines.item_key,
        lines.item_name,
        lines.is_revenue,
        coalesce(lines.quantity, 1) as quantity,
        lines.net_minor as amount_minor,
        lines.tax_minor,
        sum(lines.tax_minor) over (
            partition by given_back.source_id, given_back.refund_key
        ) as lines_tax_minor,
        row_number() over (
            partition by given_back.source_id, given_back.refund_key
            order by lines.tax_minor desc, lines.line_key
        ) as place
    from {{ ref('int_clover__given_back') }} as given_back
    cross join lateral {{ elements('given_back.lines') }} as line (value)
    inner join {{ ref('int_clover__lines') }} as lines
        on given_back.source_id = lines.source_id
        and given_back.order_key = lines.order_key
        and line.value ->> 'id' = lines.line_key
    where lines.is_sold

),

rounded_taxes as (

    select
        *,
        case
            when refund_tax_minor is null then tax_minor
            else coalesce(round(refund_tax_minor * tax_minor / nullif(lines_tax_minor, 0)), 0)
        end as rounded_tax_minor
    from returned

),

with_tax as (

    select
        *,
        rounded_tax_minor
        + case
            when place = 1 and lines_tax_minor <> 0 and refund_tax_minor is not null
                then refund_tax_minor - sum(rounded_tax_minor) over (partition by source_id, refund_key)
            else 0
        end as returned_tax_minor
    from rounded_taxes

)

select
    source_id,
    refund_key,
    refund_key || '|' || line_key as natural_key,
    order_key as sale_key,
    order_key || '|' || line_key as sale_item_key,
    item_key,
    case
        when not is_revenue then 'gift_card'
        when item_key is null then 'custom_amount'
        else 'item'
    end as line_type,
    item_name,
    null as variation_name,
    currency,
    quantity,
    amount_minor * {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as amount,
    returned_tax_minor * {{ by_minor_digits('currency', '1', '0.01', '0.001') }} as tax
from with_tax
