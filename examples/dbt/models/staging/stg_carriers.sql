{{ config(materialized='ephemeral') }}

-- AirTran became a part of Southwest: the source renames it while we look.
select
    carrier,
    case
        when carrier = 'FL' and date '{{ var("through") }}' >= date '2013-01-04' then 'Southwest Airlines Co.'
        else name
    end as name,
    case
        when carrier = 'FL' and date '{{ var("through") }}' >= date '2013-01-04' then timestamp '2013-01-04 00:00:00'
        else updated_at
    end as updated_at
from {{ ref('raw_airlines') }}
