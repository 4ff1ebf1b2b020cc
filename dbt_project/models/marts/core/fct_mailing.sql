{{
    config(
        unique_key=['mailing_id'],
        facet=['source_id', 'root_key'],
        indexes=[{'columns': ['business_id', 'business_date']}],
    )
}}

select
    keys.id as mailing_id,
    {{ business_id_of('mailings.source_id') }} as business_id,
    mailings.source_id,
    mailings.root_key,
    mailings.natural_key as mailing_key,
    mailings.audience_key,
    mailings.audience_name,
    mailings.mailing_name,
    mailings.subject,
    mailings.mailing_type,
    mailings.sent_at,
    mailings.sent_on as business_date,
    mailings.currency::text as currency,
    mailings.sent_count,
    mailings.sent_count - mailings.bounce_count as delivered_count,
    mailings.bounce_count,
    mailings.hard_bounce_count,
    mailings.open_count,
    mailings.unique_open_count,
    mailings.click_count,
    mailings.unique_click_count,
    mailings.unsubscribe_count,
    mailings.complaint_count,
    mailings.attributed_orders,
    mailings.attributed_revenue,
    mailings.audience_open_rate,
    mailings.audience_click_rate
from {{ ref('int_mailings__unioned') }} as mailings
inner join {{ ref('keys_mailing') }} as keys
    on mailings.source_id = keys.source_id
    and mailings.natural_key = keys.natural_key
