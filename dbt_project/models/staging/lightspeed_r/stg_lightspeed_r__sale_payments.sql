with source as (

    select * from {{ source('raw_lightspeed_r', 'sales_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        payment.value ->> 'salePaymentID' as payment_key,
        nullif(payment.value ->> 'refPaymentID', '0') as refunded_payment_key,
        nullif(payment.value ->> 'creditAccountID', '0') as credit_account_key,
        nullif(payment.value #>> '{SaleAccounts,SaleAccount,saleLineID}', '0') as sold_as_line_key,
        nullif(payment.value ->> 'employeeID', '0') as employee_key,

        -- strings
        payment.value #>> '{PaymentType,type}' as payment_type,
        payment.value #>> '{PaymentType,name}' as payment_name,

        -- numerics: the amount has the tip in it; negative for what is given back, or laid on an account
        coalesce((payment.value ->> 'amount')::numeric, 0) as amount,
        coalesce((payment.value ->> 'tipAmount')::numeric, 0) as tip,

        -- booleans
        coalesce(nullif(payment.value ->> 'archived', '')::boolean, false) as is_archived,

        -- times
        (payment.value ->> 'createTime')::timestamptz as paid_at

    from source
    cross join lateral {{ elements(one_or_many("source.payload #> '{SalePayments,SalePayment}'")) }} as payment (value)

)

select * from renamed
