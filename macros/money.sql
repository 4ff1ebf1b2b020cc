{#
  Money as vendors write it → numeric in major units, never float. Currencies without two decimals are those of
  ISO 4217; all others have two.
#}
{% macro by_minor_digits(currency, no_decimals, two_decimals, three_decimals) -%}
case when {{ currency }} in ({{ sql_list(currencies_without_decimals()) }}) then {{ no_decimals }} when {{ currency }} in ({{ sql_list(currencies_with_three_decimals()) }}) then {{ three_decimals }} else {{ two_decimals }} end
{%- endmacro %}

{# `{"amount": 1250, "currency": "USD"}` → 12.50; null where there is none. #}
{% macro from_minor_units(money) -%}
({{ money }} ->> 'amount')::numeric * {{ by_minor_digits("(" ~ money ~ " ->> 'currency')", '1', '0.01', '0.001') }}
{%- endmacro %}

{# Half up (away from zero) at the currency's minor unit. #}
{% macro round_money(amount, currency) -%}
round({{ amount }}, {{ by_minor_digits(currency, 0, 2, 3) }})
{%- endmacro %}

{% macro currencies_without_decimals() %}
  {%- do return(['BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF']) -%}
{% endmacro %}

{% macro currencies_with_three_decimals() %}
  {%- do return(['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND']) -%}
{% endmacro %}

{% macro sql_list(values) -%}
'{{ values | join("', '") }}'
{%- endmacro %}
