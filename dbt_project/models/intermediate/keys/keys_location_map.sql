{{ config(materialized='conformed_map') }}

-- filled together with {{ ref('keys_location') }}
select * from {{ this }}
