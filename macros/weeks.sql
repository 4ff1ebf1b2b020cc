{# Of a summary by week (location_id, week_begins_on), how it follows and reads a parent by day (location_id, business_date). #}

{# facet_from: the weeks of the days that changed, for a parent whose days are days of sum_sales_day, which knows its weeks. #}
{% macro weeks_of_changed_days() -%}
select location_id, days.week_begins_on
                from changed
                inner join sum_sales_day as days using (location_id, business_date)
{%- endmacro %}

{# slice: the days of the weeks that are computed. #}
{% macro days_of_weeks() -%}
(location_id, business_date) in (
                    select location_id, week_begins_on + n from facets cross join generate_series(0, 6) as days (n)
                )
{%- endmacro %}
