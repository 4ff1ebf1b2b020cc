with source as (

    select * from {{ source('raw_google_business', 'reviews_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as review_key,
        substring(natural_key from '^accounts/[^/]+/(locations/[^/]+)/') as location_key,

        -- strings
        payload ->> 'starRating' as star_rating,
        payload ->> 'comment' as comment,

        -- timestamps
        (payload ->> 'createTime')::timestamptz as created_at,
        (payload ->> 'updateTime')::timestamptz as updated_at,
        (payload #>> '{reviewReply,updateTime}')::timestamptz as replied_at

    from source

)

select * from renamed
