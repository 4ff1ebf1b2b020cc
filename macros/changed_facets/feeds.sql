{#
  Publish the rows that a model changed: the keys, old and new, that its consumers and its own data tests need.
  In the transaction that changes the rows. `difference` has them, see apply_difference.

  Where no entries could tell what changed (a table made anew, or more changed than stayed) the feed gets a new epoch
  instead, and its consumers are computed whole. `of_feed`: the columns of the model's feed, where the caller knows them;
  `is_retyped`: whether the model's own may have other types now.
#}
{% macro publish_changes(difference, changes, is_new, of_feed=none, is_retyped=false) %}
  {%- set feed = feed_of(model) -%}
  {%- set columns = published_columns(model, feed, changes.get('columns') or columns_of(difference)) -%}
  {%- if is_retyped and of_feed and feed_is_of_other_types(feed, difference, columns) -%}
    {%- call statement('drop_feed') -%}drop table {{ feed.feed }}{%- endcall -%}
    {%- set of_feed = [] -%}
  {%- endif -%}
  {%- do ensure_feed(feed, difference, columns, of_feed) -%}
  {%- set rewritten = changes.inserted + changes.deleted > 100000 and changes.inserted > changes.unchanged -%}
  {%- if is_new or rewritten -%}
    {%- call statement('new_epoch') -%}
      update {{ meta_table('feed') }} set epoch = gen_random_uuid() where feed = '{{ feed.label }}';
      update {{ meta_table('mark') }} set tested = null where model = '{{ model.name }}'
    {%- endcall -%}
  {%- elif changes.inserted + changes.deleted > 0 -%}
    {%- call statement('publish') -%}
      {%- if columns %}
      insert into {{ feed.feed }} ({{ column_list(columns) }})
      select distinct {{ column_list(columns) }} from {{ difference }}
      {%- else %}
      insert into {{ feed.feed }} default values
      {%- endif %}
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{#
  Columns that the feed of a node carries, of those it has: its own facet, for its tests, and what consumers need. Of a
  co-faceted consumer that is its facet; of one with a facet_from what that names.
#}
{% macro published_columns(node, feed, available) %}
  {%- set wanted = [] -%}
  {%- for column in node.config.get('facet') or [] if column in available -%}{%- do wanted.append(column) -%}{%- endfor -%}
  {%- for consumer in consumers_of(node) -%}
    {%- set mapping = (consumer.config.get('facet_from') or {}).get(feed.name) -%}
    {%- if mapping is not none -%}
      {%- set words = modules.re.findall('\\w+', mapping) -%}
      {%- for column in available if column in words -%}{%- do wanted.append(column) -%}{%- endfor -%}
    {%- else -%}
      {%- for column in consumer.config.get('facet') or [] -%}
        {%- if column not in available -%}
          {%- do exceptions.raise_compiler_error(
              consumer.name ~ ": its facet (" ~ consumer.config.facet | join(', ') ~ ") has a column " ~ column ~ " that "
              ~ feed.name ~ " does not have, so a change of " ~ feed.name ~ " cannot say which facets it touches. Say it in "
              ~ consumer.name ~ ": config(facet_from={'" ~ feed.name ~ "': \"select … from changed …\"}), or '' if such a"
              ~ " change never matters.") -%}
        {%- endif -%}
        {%- do wanted.append(column) -%}
      {%- endfor -%}
    {%- endif -%}
  {%- endfor -%}
  {%- do return(wanted | unique | sort | list) -%}
{% endmacro %}

{% macro feed_is_of_other_types(feed, like, columns) %}
  {%- set types = {} -%}
  {%- for column in adapter.get_columns_in_relation(feed.feed) -%}{%- do types.update({column.name: column.data_type}) -%}{%- endfor -%}
  {%- for column in adapter.get_columns_in_relation(like) if column.name in columns and types.get(column.name, column.data_type) != column.data_type -%}
    {%- do return(true) -%}
  {%- endfor -%}
  {%- do return(false) -%}
{% endmacro %}

{# The feed with all the columns it needs. One that is made anew begins a new epoch: what was in it before is lost. #}
{% macro ensure_feed(feed, like, columns, present=none) %}
  {%- set present = columns_of(feed.feed) if present is none else present -%}
  {%- set missing = [] -%}
  {%- if not present or columns | reject('in', present) | list -%}
    {%- for column in adapter.get_columns_in_relation(like) if column.name in columns and column.name not in present -%}
      {%- do missing.append(column) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if not present -%}
    {%- call statement('create_feed') -%}
      create table {{ feed.feed }} (
        xid xid8 not null default pg_current_xact_id()
        {%- for column in missing %}, {{ column.quoted }} {{ column.data_type }}{% endfor %}
      );
      create index on {{ feed.feed }} (xid);
      insert into {{ meta_table('feed') }} (feed, relation) values ('{{ feed.label }}', '{{ feed.feed.include(database=false) }}')
      on conflict (feed) do update set epoch = gen_random_uuid(), relation = excluded.relation
    {%- endcall -%}
  {%- elif missing -%}
    {#- Entries that lack the column are older than the mark of any model that needs it. -#}
    {%- call statement('widen_feed') -%}
      alter table {{ feed.feed }} {% for column in missing %}add column {{ column.quoted }} {{ column.data_type }}{{ ', ' if not loop.last }}{% endfor %}
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{# Each feed gets its row, and thereby its epoch, the first time somebody follows it. #}
{% macro register_feeds(feeds) %}
  {%- set rows = [] -%}
  {%- for feed in feeds -%}{%- do rows.append("('" ~ feed.label ~ "', '" ~ feed.feed.include(database=false) ~ "')") -%}{%- endfor -%}
  {%- if rows -%}
    {%- set unknown = run_query(
        "select feed, relation, to_regclass(relation) is null as is_missing from (values " ~ rows | join(', ') ~ ") as followed (feed, relation)"
        ~ " where not exists (select from " ~ meta_table('feed') ~ " as known where known.feed = followed.feed)").rows -%}
    {%- for row in unknown -%}
      {%- if row['is_missing'] -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": " ~ row['feed'] ~ " has no feed (" ~ row['relation'] ~ "). If it is a model, build it first: dbt build --select "
            ~ row['feed'] ~ "; if it is a source, let its changes be watched: dbt run-operation watch_sources") -%}
      {%- endif -%}
      {%- call statement('register_feed') -%}
        insert into {{ meta_table('feed') }} (feed, relation) values ('{{ row['feed'] }}', '{{ row['relation'] }}')
        on conflict (feed) do nothing
      {%- endcall -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}
