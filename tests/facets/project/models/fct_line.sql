-- The newest version of each sale; a moved day start or time zone moves the sales of that location.
{{ config(
    unique_key=['sale_id', 'line'],
    facet=['sale_id'],
    facet_from={
        'raw.location_setting':
            'select sale_id from raw.sale_version where location_id in (select location_id from changed)',
    },
    indexes=[{'columns': ['location_id', 'business_date']}, {'columns': ['item_id']}],
) }}
with versions as (
    select
        *,
        max(block_seq) over (partition by sale_id) as newest
    from {{ source('raw', 'sale_version') }}
),

placed as (
    select
        versions.*,
        setting.business_id,
        versions.sold_at at time zone setting.time_zone - setting.day_start * interval '1 hour' as local_time
    from versions
    inner join {{ source('raw', 'location_setting') }} as setting using (location_id)
    where versions.block_seq = versions.newest and not versions.deleted
)

select
    sale_id,
    line,
    business_id,
    location_id,
    item_id,
    quantity,
    net,
    is_void,
    local_time::date as business_date,
    extract(hour from local_time)::int as hour
from placed
