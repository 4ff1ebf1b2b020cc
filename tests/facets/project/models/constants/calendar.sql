-- A parent without a feed: nothing beneath it ever changes.
select
    day::date as business_date,
    extract(isodow from day) >= 6 as is_weekend
from generate_series(timestamp '2023-01-01', timestamp '2026-12-31', interval '1 day') as day
