{% set changed = ['fct_review', 'sum_review_day'] %}
-- Every review and every star is in its day once.
with reviews as (

    select
        location_id,
        count(*) as review_count,
        coalesce(sum(rating), 0) as rating_sum
    from {{ tested_rows(ref('fct_review'), ['location_id', 'business_date'], changed) }} as fct_review
    group by location_id

),

days as (

    select
        location_id,
        sum(review_count) as review_count,
        sum(rating_sum) as rating_sum,
        sum(
            one_star_count + 2 * two_star_count + 3 * three_star_count + 4 * four_star_count + 5 * five_star_count
        ) as stars
    from {{ tested_rows(ref('sum_review_day'), ['location_id', 'business_date'], changed) }} as sum_review_day
    group by location_id

)

select
    location_id,
    reviews.review_count as reviews,
    days.review_count as reviews_of_days
from reviews
full join days using (location_id)
where
    coalesce(reviews.review_count, 0) <> coalesce(days.review_count, 0)
    or coalesce(reviews.rating_sum, 0) <> coalesce(days.rating_sum, 0)
    or coalesce(days.stars, 0) <> coalesce(days.rating_sum, 0)
