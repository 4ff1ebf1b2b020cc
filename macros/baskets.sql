{#
  Baskets of the lines of sales: a row for each completed sale with an article in it, and its articles, each once however
  often it was ordered. Modifiers, voids, gift cards and amounts keyed in are no articles.

  lines  fct_sale_item
#}
{% macro baskets(lines) -%}
select
        sale_id,
        location_id,
        business_date,
        array_agg(distinct item_id) as item_ids
    from {{ lines }}
    where
        line_type = 'item'
        and line_status = 'completed'
        and quantity_sold > 0
        and source_item_id is not null
    group by sale_id, location_id, business_date
{%- endmacro %}
