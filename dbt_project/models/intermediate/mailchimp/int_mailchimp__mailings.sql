-- A mailing goes to one list and to no location: its day is one of the account's calendar.
with reports as (

    select * from {{ ref('stg_mailchimp__reports') }}

),

accounts as (

    select * from {{ ref('stg_mailchimp__accounts') }}

)

select
    reports.source_id,
    reports.campaign_key as natural_key,
    reports.audience_key,
    reports.audience_name,
    coalesce(
        nullif(reports.campaign_title, ''), reports.subject_line, 'campaign ' || reports.campaign_key
    ) as mailing_name,
    reports.subject_line as subject,
    reports.campaign_type as mailing_type,
    reports.sent_at,
    (reports.sent_at at time zone coalesce(known_timezones.name, 'UTC'))::date as sent_on,
    reports.currency,
    reports.emails_sent as sent_count,
    reports.hard_bounces + reports.soft_bounces + reports.syntax_errors as bounce_count,
    reports.hard_bounces as hard_bounce_count,
    reports.opens as open_count,
    reports.unique_opens as unique_open_count,
    reports.clicks as click_count,
    reports.unique_clickers as unique_click_count,
    reports.unsubscribes as unsubscribe_count,
    reports.abuse_reports as complaint_count,
    reports.attributed_orders,
    reports.attributed_revenue,
    reports.audience_open_rate,
    reports.audience_click_rate
from reports
left join accounts
    on reports.source_id = accounts.source_id
    and reports.account_key = accounts.account_key
left join pg_timezone_names as known_timezones
    on accounts.timezone = known_timezones.name
