{#
  A join that places rows of a vendor's site and instant: which of the business's locations that was, on which business
  date, by the map and the settings then in force.

  rows           alias with source_id and location_key
  at             timestamptz expression of the instant that decides
  vendor_date    date expression of the vendor's own business date, null where it gives none; it wins

  Gives alias `placed`: source_location_id, location_id, timezone, business_date. Map and settings are valid on business
  dates, which they themselves decide: the latest row that has begun on the date *it* computes is in force, so that
  around a change of settings every instant has exactly one date. Until the first day of the next row has begun, its
  own last day goes on: where days begin at six instead of four from the 31st on, half past four belongs to the 30th.
#}
{% macro place_in_business_day(rows, at, vendor_date='null::date') -%}
{%- set date_by_row = 'coalesce(' ~ vendor_date ~ ', ' ~ local_business_date(at, 'setting.timezone', 'setting.day_start') ~ ')' -%}
left join lateral (
        select
            setting.source_location_id,
            setting.location_id,
            setting.timezone,
            least({{ date_by_row }}, setting.valid_to - 1) as business_date
        from {{ ref('int_source_locations__dated') }} as setting
        where
            setting.source_id = {{ rows }}.source_id
            and setting.location_key = {{ rows }}.location_key
            and {{ date_by_row }} >= setting.valid_from
        order by setting.valid_from desc
        limit 1
    ) as placed on true
{%- endmacro %}

{# Local wall clock minus the hour at which the location's day begins. #}
{% macro local_business_date(at, timezone, day_start) -%}
(({{ at }}) at time zone {{ timezone }} - {{ day_start }})::date
{%- endmacro %}
