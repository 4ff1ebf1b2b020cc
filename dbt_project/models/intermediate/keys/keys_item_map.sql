{{
    config(
        materialized='conformed_map',
        meta={'feed': {'table': 'feed__item_map', 'beside': 'keys.item_map'}},
    )
}}

-- filled together with {{ ref('keys_item') }}
select * from {{ this }}
