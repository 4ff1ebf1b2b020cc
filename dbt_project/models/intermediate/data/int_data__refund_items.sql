select * from {{ ref('stg_data__refund_items') }}
