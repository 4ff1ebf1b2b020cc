-- No shift is lost on the way to the fact, and its parts cover it without gap or overlap.
select
    shifts.source_id,
    shifts.natural_key,
    parts.covered,
    parts.spanned
from {{ tested_rows(ref('int_shifts__unioned'), ['source_id', 'root_key'], ['int_shifts__unioned']) }} as shifts
inner join {{ ref('keys_shift') }} as keys
    on shifts.source_id = keys.source_id
    and shifts.natural_key = keys.natural_key
left join lateral (
    select
        min(parts_of_shift.part_began_at) as began_at,
        sum(parts_of_shift.part_ended_at - parts_of_shift.part_began_at) as covered,
        max(parts_of_shift.part_ended_at) - min(parts_of_shift.part_began_at) as spanned,
        min(parts_of_shift.clocked_in_at) as clocked_in_at
    from {{ ref('fct_shift') }} as parts_of_shift
    where parts_of_shift.shift_id = keys.id
) as parts on true
where
    parts.began_at is null
    or parts.began_at <> parts.clocked_in_at
    or parts.covered <> parts.spanned
