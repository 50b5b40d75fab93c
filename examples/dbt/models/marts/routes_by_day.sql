{{ config(
    materialized='incremental',
    incremental_strategy='replace_where',
    incremental_predicates=["flight_date >= date '" ~ var('since') ~ "'"],
) }}

select flight_date, origin, dest, count(*) as flights
from {{ ref('stg_flights') }}
{% if is_incremental() %}
where flight_date >= date '{{ var("since") }}'
{% endif %}
group by flight_date, origin, dest
