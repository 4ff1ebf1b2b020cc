{%- set measures = [
    'review_count', 'rated_count', 'rating_sum', 'one_star_count', 'two_star_count', 'three_star_count', 'four_star_count',
    'five_star_count', 'commented_count', 'replied_count',
] -%}
{{
    config(
        unique_key=['location_id', 'week_begins_on'],
        facet=['location_id', 'week_begins_on'],
        facet_from={
            'sum_review_day':
                "select changed.location_id, changed.week_begins_on + 7 * n as week_begins_on
                from changed cross join generate_series(0, 11) as weeks (n)",
        },
        slice={
            'sum_review_day':
                "(location_id, week_begins_on) in (
                    select location_id, week_begins_on - 7 * n from facets cross join generate_series(0, 11) as weeks (n)
                )",
        },
    )
}}

with weeks as (

    select
        location_id,
        week_begins_on,
        {%- for measure in measures %}
        sum({{ measure }})::bigint as {{ measure }},
        {%- endfor %}
        business_id
    from {{ ref('sum_review_day') }}
    group by location_id, week_begins_on, business_id

),

-- A week without a review has no row: the twelve are reckoned by date.
with_twelve_weeks as (

    select
        *,
        sum(rated_count) over twelve_weeks::bigint as rated_count_12w,
        sum(rating_sum) over twelve_weeks::bigint as rating_sum_12w
    from weeks
    window twelve_weeks as (
        partition by location_id
        order by week_begins_on
        range between interval '77 days' preceding and current row
    )

)

select
    location_id,
    week_begins_on,
    business_id,
    {{ measures | join(',\n    ') }},
    round(rating_sum::numeric / nullif(rated_count, 0), 4) as average_rating,
    round(replied_count::numeric / review_count, 4) as replied_pct,
    rated_count_12w,
    rating_sum_12w,
    round(rating_sum_12w::numeric / nullif(rated_count_12w, 0), 4) as average_rating_12w
from with_twelve_weeks
