{{
    config(
        materialized='conformed_map',
        meta={'feed': {'table': 'feed__location_map', 'beside': 'keys.location_map'}},
    )
}}

-- filled together with {{ ref('keys_location') }}
select * from {{ this }}
