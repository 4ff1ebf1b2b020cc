select * from {{ ref('stg_data__sale_items') }}
