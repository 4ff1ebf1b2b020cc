select * from {{ ref('stg_data__items') }}
