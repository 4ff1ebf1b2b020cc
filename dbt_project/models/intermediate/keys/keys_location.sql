{{ config(materialized='conformed_key_table', meta={'feed': {'table': 'feed__location', 'beside': 'keys.location'}}) }}

-- No rule says that two vendors' sites are one: names and addresses are not proof. A person maps them (larder map set).
select
    keys.id as source_location_id,
    keys.source_id,
    coalesce(locations.location_name, 'location ' || keys.natural_key) as name,
    1 as priority,
    'vendor_id' as rule,
    null::text as match_key
from {{ ref('keys_source_location') }} as keys
left join {{ ref('int_locations__unioned') }} as locations
    on keys.source_id = locations.source_id
    and keys.natural_key = locations.natural_key
