{{ config(
    grants={'select': ['analysts']},
    databricks_tags={'domain': 'aviation'},
    tblproperties={'quality': 'gold'},
) }}

select
    cast(c.carrier as string) as carrier,
    cast(c.name as string) as name,
    cast(count(f.flight_id) as bigint) as flights,
    cast(avg(f.dep_delay) as decimal(10, 2)) as mean_dep_delay,
    c.updated_at
from {{ ref('stg_carriers') }} as c
left join {{ ref('stg_flights') }} as f on f.carrier = c.carrier
group by c.carrier, c.name, c.updated_at
