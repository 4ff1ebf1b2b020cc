select * from {{ ref('stg_data__ad_spends') }}
