{{
    config(
        unique_key=['review_id'],
        facet=['source_id', 'root_key'],
        facet_from={
            'int_source_locations__dated': "
                select reviews.source_id, reviews.root_key
                from changed inner join int_reviews__unioned as reviews using (source_id, location_key)
            ",
        },
        indexes=[{'columns': ['location_id', 'business_date']}],
    )
}}

-- A review counts on the day on which it was written, whenever it is changed or answered.
with reviews as (

    select
        reviews.*,
        placed.source_location_id,
        placed.location_id,
        placed.business_date
    from {{ ref('int_reviews__unioned') }} as reviews
    {{ place_in_business_day('reviews', 'reviews.reviewed_at') }}

)

select
    keys.id as review_id,
    {{ business_id_of('reviews.source_id') }} as business_id,
    reviews.source_id,
    reviews.root_key,
    reviews.source_location_id,
    reviews.location_id,
    reviews.natural_key as review_key,
    reviews.rating,
    reviews.has_comment,
    reviews.replied_at is not null as is_replied,
    reviews.reviewed_at,
    reviews.changed_at,
    reviews.replied_at,
    reviews.business_date
from reviews
inner join {{ ref('keys_review') }} as keys
    on reviews.source_id = keys.source_id
    and reviews.natural_key = keys.natural_key
