select
    source_id,
    review_key as natural_key,
    location_key,
    case star_rating
        when 'ONE' then 1
        when 'TWO' then 2
        when 'THREE' then 3
        when 'FOUR' then 4
        when 'FIVE' then 5
    end as rating,
    coalesce(comment, '') <> '' as has_comment,
    created_at as reviewed_at,
    updated_at as changed_at,
    replied_at
from {{ ref('stg_google_business__reviews') }}
