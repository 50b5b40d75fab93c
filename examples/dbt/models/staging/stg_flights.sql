select
    md5(concat_ws('|', flight_date, carrier, flight, origin)) as flight_id,
    flight_date,
    carrier,
    flight,
    tailnum,
    origin,
    dest,
    scheduled,
    dep_delay,
    arr_delay,
    air_time,
    distance
from {{ ref('raw_flights') }}
where flight_date <= date '{{ var("through") }}'
