select * from {{ ref('stg_data__wages') }}
