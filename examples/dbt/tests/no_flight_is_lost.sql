-- A singular test: rows are what is wrong.
select f.flight_id
from {{ ref('stg_flights') }} as f
left anti join {{ ref('flights') }} as merged on merged.flight_id = f.flight_id
