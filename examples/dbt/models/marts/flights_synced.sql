{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['flight_date', 'carrier', 'flight', 'origin'],
    on_schema_change='sync_all_columns',
    tblproperties={'delta.columnMapping.mode': 'name'},
) }}

-- Delta drops a column of a table with column mapping only.
select
    flight_date, carrier, flight, origin,
    {%- if var('with_distance') %} distance {% else %} tailnum {% endif %}
from {{ ref('stg_flights') }}
