-- No shift is lost on the way to the fact, and its parts cover it without gap or overlap.
with parts as (

    select
        shift_id,
        min(part_began_at) as began_at,
        sum(part_ended_at - part_began_at) as covered,
        max(part_ended_at) - min(part_began_at) as spanned,
        min(clocked_in_at) as clocked_in_at
    from {{ ref('fct_shift') }}
    group by shift_id

)

select
    shifts.source_id,
    shifts.natural_key,
    parts.covered,
    parts.spanned
from {{ ref('int_shifts__unioned') }} as shifts
inner join {{ ref('keys_shift') }} as keys
    on shifts.source_id = keys.source_id
    and shifts.natural_key = keys.natural_key
left join parts
    on keys.id = parts.shift_id
where
    parts.shift_id is null
    or parts.began_at <> parts.clocked_in_at
    or parts.covered <> parts.spanned
