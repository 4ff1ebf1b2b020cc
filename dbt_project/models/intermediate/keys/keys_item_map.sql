{{ config(materialized='conformed_map') }}

-- filled together with {{ ref('keys_item') }}
select * from {{ this }}
