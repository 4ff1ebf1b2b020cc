with source as (

    select * from {{ source('raw_mailchimp', 'reports_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as campaign_key,
        payload #>> '{_context,account_id}' as account_key,
        payload ->> 'list_id' as audience_key,

        -- strings
        payload ->> 'campaign_title' as campaign_title,
        payload ->> 'subject_line' as subject_line,
        payload ->> 'type' as campaign_type,
        payload ->> 'list_name' as audience_name,
        payload #>> '{ecommerce,currency_code}' as currency,

        -- numerics
        (payload ->> 'emails_sent')::bigint as emails_sent,
        (payload #>> '{bounces,hard_bounces}')::bigint as hard_bounces,
        (payload #>> '{bounces,soft_bounces}')::bigint as soft_bounces,
        (payload #>> '{bounces,syntax_errors}')::bigint as syntax_errors,
        (payload #>> '{opens,opens_total}')::bigint as opens,
        (payload #>> '{opens,unique_opens}')::bigint as unique_opens,
        (payload #>> '{clicks,clicks_total}')::bigint as clicks,
        (payload #>> '{clicks,unique_subscriber_clicks}')::bigint as unique_clickers,
        (payload ->> 'unsubscribed')::bigint as unsubscribes,
        (payload ->> 'abuse_reports')::bigint as abuse_reports,
        (payload #>> '{ecommerce,total_orders}')::bigint as attributed_orders,
        (payload #>> '{ecommerce,total_revenue}')::numeric as attributed_revenue,
        -- of the mailing 0 to 1, of the audience 0 to 100
        (payload #>> '{opens,open_rate}')::numeric as open_rate,
        (payload #>> '{clicks,click_rate}')::numeric as click_rate,
        (payload #>> '{list_stats,open_rate}')::numeric / 100 as audience_open_rate,
        (payload #>> '{list_stats,click_rate}')::numeric / 100 as audience_click_rate,

        -- timestamps
        (payload ->> 'send_time')::timestamptz as sent_at

    from source

)

select * from renamed
