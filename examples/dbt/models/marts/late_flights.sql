{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='flight_id',
) }}

select flight_id, flight_date, carrier, dep_delay
from {{ ref('stg_flights') }}
where dep_delay >= 15
{% if is_incremental() %}
  and flight_date >= (select max(flight_date) from {{ this }})
{% endif %}
