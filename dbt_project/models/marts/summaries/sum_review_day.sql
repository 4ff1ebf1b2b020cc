{{
    config(
        unique_key=['location_id', 'business_date'],
        facet=['location_id', 'business_date'],
        facet_from={
            'keys.route': "
                select days.location_id, days.business_date
                from changed inner join this as days on keys.business_of(days.location_id) = changed.business
            ",
        },
    )
}}

with days as (

    select
        location_id,
        business_date,
        count(*) as review_count,
        count(rating) as rated_count,
        coalesce(sum(rating), 0)::bigint as rating_sum,
        {%- for stars in ['one', 'two', 'three', 'four', 'five'] %}
        count(*) filter (where rating = {{ loop.index }}) as {{ stars }}_star_count,
        {%- endfor %}
        count(*) filter (where has_comment) as commented_count,
        count(*) filter (where is_replied) as replied_count
    from {{ ref('fct_review') }}
    group by location_id, business_date

)

select
    days.location_id,
    days.business_date,
    businesses.business_id,
    days.business_date
    - (extract(isodow from days.business_date)::integer - businesses.first_weekday + 7) % 7 as week_begins_on,
    days.review_count,
    days.rated_count,
    days.rating_sum,
    round(days.rating_sum::numeric / nullif(days.rated_count, 0), 4) as average_rating,
    days.one_star_count,
    days.two_star_count,
    days.three_star_count,
    days.four_star_count,
    days.five_star_count,
    days.commented_count,
    days.replied_count,
    round(days.replied_count::numeric / days.review_count, 4) as replied_pct
from days
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('days.location_id') }} = businesses.business_id
