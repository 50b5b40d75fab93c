{{ config(
    materialized='incremental',
    incremental_strategy='insert_overwrite',
    partition_by=['flight_date'],
) }}

select flight_date, origin, count(*) as flights, sum(case when dep_delay >= 15 then 1 else 0 end) as late
from {{ ref('stg_flights') }}
{% if is_incremental() %}
where flight_date >= (select max(flight_date) from {{ this }})
{% endif %}
group by flight_date, origin
