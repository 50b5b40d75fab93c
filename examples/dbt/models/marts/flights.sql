{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='flight_id',
    on_schema_change='append_new_columns',
) }}

select
    flight_id, flight_date, carrier, flight, origin, dest, dep_delay, arr_delay
    {%- if var('with_distance') %}, distance{% endif %}
from {{ ref('stg_flights') }}
{% if is_incremental() %}
-- The last day again, too: what was late is corrected.
where flight_date >= (select max(flight_date) from {{ this }})
{% endif %}
