{# Milliseconds since 1970 as an instant, exactly; null where there are none. #}
{% macro from_epoch_ms(milliseconds) -%}
'epoch'::timestamptz + ({{ milliseconds }})::bigint * interval '1 millisecond'
{%- endmacro %}
