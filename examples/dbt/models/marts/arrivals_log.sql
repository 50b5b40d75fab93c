{{ config(materialized='incremental', incremental_strategy='append') }}

select flight_id, flight_date, dest, arr_delay
from {{ ref('stg_flights') }}
{% if is_incremental() %}
where flight_date > (select max(flight_date) from {{ this }})
{% endif %}
