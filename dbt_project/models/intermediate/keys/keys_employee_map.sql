{{ config(materialized='conformed_map') }}

-- filled together with {{ ref('keys_employee') }}
select * from {{ this }}
