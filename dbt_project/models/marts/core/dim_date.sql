{{ config(unique_key=['date_day']) }}

with days as (

    select day::date as date_day
    from generate_series('2010-01-01'::timestamp, '2039-12-31'::timestamp, '1 day') as series (day)

)

select
    date_day,
    extract(year from date_day)::integer as year,
    extract(quarter from date_day)::integer as quarter,
    extract(month from date_day)::integer as month,
    to_char(date_day, 'FMMonth') as month_name,
    date_trunc('month', date_day)::date as month_start,
    extract(day from date_day)::integer as day_of_month,
    extract(isodow from date_day)::integer as iso_weekday,
    to_char(date_day, 'FMDay') as weekday_name,
    extract(isodow from date_day) >= 6 as is_weekend,
    extract(isoyear from date_day)::integer as iso_year,
    extract(week from date_day)::integer as iso_week,
    date_trunc('week', date_day)::date as iso_week_start,
    date_day - 364 as like_for_like_date
from days
