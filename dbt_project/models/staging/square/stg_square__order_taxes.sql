with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        tax.value ->> 'uid' as tax_uid,

        -- strings
        tax.value ->> 'name' as tax_name,

        -- numerics
        (tax.value ->> 'percentage')::numeric / 100 as tax_rate,

        -- booleans
        tax.value ->> 'type' = 'INCLUSIVE' as is_inclusive

    from source
    cross join lateral {{ elements("source.payload -> 'taxes'") }} as tax (value)

)

select * from renamed
