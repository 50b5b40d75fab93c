{{ config(liquid_clustered_by=['faa']) }}

select a.faa, a.name, a.tzone, count(f.flight_id) as arrivals
from {{ ref('raw_airports') }} as a
left join {{ ref('stg_flights') }} as f on f.dest = a.faa
group by all
