with source as (

    select * from {{ source('raw_lightspeed_r', 'employees_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'limitToShopID', '0') as only_location_key,

        -- strings
        nullif(payload ->> 'firstName', '') as given_name,
        nullif(payload ->> 'lastName', '') as family_name,
        -- the first one is the primary one
        nullif({{ one_or_many("payload #> '{Contact,Emails,ContactEmail}'") }} #>> '{0,address}', '') as email,

        -- booleans
        coalesce(nullif(payload ->> 'archived', '')::boolean, false) as is_archived

    from source

)

select * from renamed
