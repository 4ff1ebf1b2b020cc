with source as (

    select * from {{ source('raw_deputy', 'timesheets_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as shift_key,
        payload ->> 'Employee' as employee_key,
        payload ->> 'OperationalUnit' as area_key,
        coalesce(payload #>> '{OperationalUnitObject,Company}', payload #>> '{_DPMetaData,OperationalUnitInfo,Company}')
            as location_key,
        nullif(payload ->> 'EmployeeAgreement', '0') as agreement_key,

        -- numerics, all three as Deputy works them out
        (payload ->> 'TotalTime')::numeric as total_hours,
        (payload ->> 'Cost')::numeric as cost,
        (payload ->> 'OnCost')::numeric as cost_with_on_costs,

        -- booleans
        coalesce((payload ->> 'TimeApproved')::boolean, false) as is_approved,
        coalesce((payload ->> 'Discarded')::boolean, false) as is_discarded,
        coalesce((payload ->> 'IsInProgress')::boolean, false) as is_in_progress,
        coalesce((payload ->> 'IsLeave')::boolean, false) as is_leave,

        -- times; an open timesheet ends at 0 or null, and a length of time is written as a time of day
        to_timestamp((payload ->> 'StartTime')::bigint) as started_at,
        to_timestamp(nullif((payload ->> 'EndTime')::bigint, 0)) as ended_at,
        coalesce(substring(payload ->> 'Mealbreak' from 12 for 8)::interval, '0') as meal_break

    from source

)

select * from renamed
