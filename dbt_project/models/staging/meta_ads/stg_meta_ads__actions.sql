with source as (

    select * from {{ source('raw_meta_ads', 'insights_current') }}

),

unnested as (

    select
        source.source_id,
        source.natural_key as ad_spend_key,
        'count' as measure,
        action.payload
    from source
    cross join lateral jsonb_array_elements(nullif(source.payload -> 'actions', 'null')) as action (payload)

    union all

    select
        source.source_id,
        source.natural_key as ad_spend_key,
        'value' as measure,
        action.payload
    from source
    cross join lateral jsonb_array_elements(nullif(source.payload -> 'action_values', 'null')) as action (payload)

),

renamed as (

    select
        -- ids
        source_id,
        ad_spend_key,

        -- strings
        measure,
        payload ->> 'action_type' as action_type,

        -- numerics
        (payload ->> 'value')::numeric as amount

    from unnested

)

select * from renamed
