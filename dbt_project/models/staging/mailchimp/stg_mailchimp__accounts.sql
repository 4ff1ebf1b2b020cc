with source as (

    select * from {{ source('raw_mailchimp', 'account_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as account_key,

        -- strings
        payload ->> 'account_name' as account_name,
        payload ->> 'account_timezone' as timezone

    from source

)

select * from renamed
