{#- dbt run-operation row_counts: how many rows each table of the schema has. -#}
{% macro row_counts(schema=target.schema) %}
  {% for relation in run_query("show tables in " ~ target.catalog ~ "." ~ schema) %}
    {% set name = target.catalog ~ "." ~ schema ~ "." ~ relation["tableName"] %}
    {% do log(relation["tableName"] ~ " " ~ run_query("select count(*) from " ~ name)[0][0], info=true) %}
  {% endfor %}
{% endmacro %}
