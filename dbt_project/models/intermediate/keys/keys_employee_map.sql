{{
    config(
        materialized='conformed_map',
        meta={'feed': {'table': 'feed__employee_map', 'beside': 'keys.employee_map'}},
    )
}}

-- filled together with {{ ref('keys_employee') }}
select * from {{ this }}
