select
    pairs.location_id,
    pairs.location_id::text as location_id_text,
    pairs.week_begins_on,
    pairs.item_id_a,
    pairs.item_id_a::text as item_id_a_text,
    pairs.item_id_b,
    pairs.item_id_b::text as item_id_b_text,
    pairs.pair_basket_count,
    items_a.pair_basket_count as item_a_basket_count,
    items_b.pair_basket_count as item_b_basket_count,
    weeks.basket_count,
    round(pairs.pair_basket_count::numeric / weeks.basket_count, 6) as support,
    round(
        pairs.pair_basket_count::numeric * weeks.basket_count
        / (items_a.pair_basket_count * items_b.pair_basket_count),
        6
    ) as lift
from {{ ref('sum_basket_pair_week') }} as pairs
inner join {{ ref('sum_basket_pair_week') }} as items_a
    on pairs.location_id = items_a.location_id
    and pairs.week_begins_on = items_a.week_begins_on
    and pairs.item_id_a = items_a.item_id_a
    and pairs.item_id_a = items_a.item_id_b
inner join {{ ref('sum_basket_pair_week') }} as items_b
    on pairs.location_id = items_b.location_id
    and pairs.week_begins_on = items_b.week_begins_on
    and pairs.item_id_b = items_b.item_id_a
    and pairs.item_id_b = items_b.item_id_b
inner join {{ ref('sum_basket_week') }} as weeks
    on pairs.location_id = weeks.location_id
    and pairs.week_begins_on = weeks.week_begins_on
{{ active_business('pairs.location_id') }}
where pairs.item_id_a < pairs.item_id_b
