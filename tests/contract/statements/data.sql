CREATE SCHEMA IF NOT EXISTS main.contract;
CREATE OR REPLACE TABLE main.contract.people AS
SELECT id AS person_id,
       concat(element_at(array('Ada', 'Grace ', ' Jean', 'Émile', 'Zoë'), CAST(1 + id % 5 AS INT)), ' ', id % 40) AS full_name,
       CASE WHEN id % 7 = 0 THEN NULL WHEN id % 29 = 0 THEN 'nobody' ELSE concat('u', id, '@example.com') END AS email,
       element_at(array('NY', 'CA', 'TX', 'WA', 'XX'), CAST(1 + id % 5 AS INT)) AS us_state,
       CASE WHEN id % 13 = 0 THEN '1234' ELSE lpad(CAST(10000 + id * 37 AS STRING), 5, '0') END AS zip_code,
       concat(1 + id % 99, ' Main Street') AS street_address,
       lpad(CAST(1 + id % 12 AS STRING), 2, '0') AS birth_month,
       CASE WHEN id % 11 = 0 THEN 'N/A' WHEN id % 17 = 0 THEN '' ELSE concat('note ', id % 23) END AS note,
       CASE WHEN id % 2 = 0 THEN '2024-01-15' ELSE 'x' END AS text_date,
       'EU' AS region,
       id % 3 = 0 AS active,
       CASE WHEN id % 5 = 0 THEN NULL ELSE date_add(DATE'1960-01-01', CAST(id * 37 AS INT)) END AS born
FROM range(1, 241);
CREATE OR REPLACE TABLE main.contract.payments AS
SELECT id AS payment_id, 1 + id % 240 AS person_id,
       CAST((5 + (id * 37) % 1000) / 10 AS DECIMAL(10, 2)) AS amount,
       CAST((id * 7919) % 1000 AS DOUBLE) / 8 AS rate,
       CAST(id % 4 AS INT) AS installments,
       CASE WHEN id % 10 = 0 THEN 'returned' ELSE 'paid' END AS status,
       date_add(DATE'2023-01-01', CAST(id % 365 AS INT)) AS paid_on,
       timestamp_micros(1672531200000000 + id * 3600000000) AS booked_at
FROM range(1, 601);
CREATE OR REPLACE TABLE main.contract.payments_copy AS
SELECT * FROM main.contract.payments WHERE payment_id % 50 <> 0;
CREATE OR REPLACE TABLE main.contract.nothing_yet (id BIGINT, said STRING, spent DECIMAL(12, 3), seen TIMESTAMP)
