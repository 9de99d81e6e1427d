-- Concepts of intensive care, from stays to severity, as a research group derives them step by step.

-- Age at each admission, with ages over 89 put together.
SELECT v.visit_occurrence_id, v.person_id,
       CASE WHEN date_part('year', age(v.visit_start_datetime, p.birth_datetime)) > 89 THEN 91
            ELSE date_part('year', age(v.visit_start_datetime, p.birth_datetime)) END AS age
FROM visit_occurrence v INNER JOIN person p ON p.person_id = v.person_id
WHERE v.visit_concept_id IN (9201, 262);

-- Stays in intensive care with their order within the admission and within the life of the person.
SELECT d.person_id, d.visit_occurrence_id, d.visit_detail_id, g.concept_name AS gender,
       v.visit_start_datetime AS admitted, v.visit_end_datetime AS discharged,
       round((extract(epoch FROM v.visit_end_datetime - v.visit_start_datetime) / 86400)::numeric, 2) AS los_hospital,
       d.visit_detail_start_datetime AS icu_in, d.visit_detail_end_datetime AS icu_out,
       round((extract(epoch FROM d.visit_detail_end_datetime - d.visit_detail_start_datetime) / 86400)::numeric, 2) AS los_icu,
       dense_rank() OVER (PARTITION BY d.person_id ORDER BY v.visit_start_datetime) AS hospital_stay,
       rank() OVER (PARTITION BY d.visit_occurrence_id ORDER BY d.visit_detail_start_datetime) = 1 AS first_icu_stay,
       x.death_date IS NOT NULL AND x.death_date <= v.visit_end_date AS died_here
FROM visit_detail d
JOIN visit_occurrence v USING (visit_occurrence_id)
JOIN person p ON p.person_id = d.person_id
LEFT JOIN concept g ON g.concept_id = p.gender_concept_id
LEFT JOIN death x ON x.person_id = p.person_id
WHERE d.visit_detail_concept_id = 32037;

-- When a stay really began and ended: the first and the last heart rate.
CREATE TABLE stay_times AS
SELECT d.visit_detail_id, d.person_id, min(m.measurement_datetime) AS first_hr, max(m.measurement_datetime) AS last_hr
FROM visit_detail d
LEFT JOIN measurement m ON m.visit_detail_id = d.visit_detail_id AND m.measurement_concept_id = 3027018
 AND m.measurement_datetime BETWEEN d.visit_detail_start_datetime - interval '1 month' AND d.visit_detail_end_datetime + interval '1 month'
WHERE d.visit_detail_concept_id = 32037
GROUP BY d.visit_detail_id, d.person_id;

-- Each hour of each stay, from one day before.
WITH hours AS (
  SELECT visit_detail_id,
         CASE WHEN date_trunc('hour', visit_detail_start_datetime) = visit_detail_start_datetime THEN visit_detail_start_datetime
              ELSE date_trunc('hour', visit_detail_start_datetime) + interval '1 hour' END AS first_end,
         generate_series(-24, ceil(extract(epoch FROM visit_detail_end_datetime - visit_detail_start_datetime) / 3600.0)::int) AS hr
  FROM visit_detail WHERE visit_detail_concept_id = 32037
)
SELECT visit_detail_id, hr, first_end + make_interval(hours => hr) AS end_time FROM hours;

-- Readmission to intensive care within two days of leaving it.
SELECT s.person_id, s.visit_detail_id, s.next_in IS NOT NULL AND s.next_in < s.visit_detail_end_datetime + interval '48 hours' AS readmitted
FROM (
  SELECT person_id, visit_detail_id, visit_detail_end_datetime,
         lead(visit_detail_start_datetime) OVER (PARTITION BY person_id ORDER BY visit_detail_start_datetime) AS next_in
  FROM visit_detail WHERE visit_detail_concept_id = 32037
) s;

-- Comorbidity by Charlson: weights over the conditions of a stay, with points for age.
WITH dx AS (
  SELECT c.visit_occurrence_id,
         max(CASE WHEN k.concept_code SIMILAR TO '(I21|I22|I252)%' THEN 1 ELSE 0 END) AS mi,
         max(CASE WHEN substr(k.concept_code, 1, 3) IN ('I43', 'I50') OR k.concept_code LIKE 'I420%' THEN 1 ELSE 0 END) AS chf,
         max(CASE WHEN substr(k.concept_code, 1, 3) IN ('I70', 'I71') THEN 1 ELSE 0 END) AS pvd,
         max(CASE WHEN left(k.concept_code, 3) BETWEEN 'I60' AND 'I69' THEN 1 ELSE 0 END) AS stroke,
         max(CASE WHEN left(k.concept_code, 3) BETWEEN 'J40' AND 'J47' THEN 1 ELSE 0 END) AS copd,
         max(CASE WHEN k.concept_code ~ '^E1[0-4][01689]' THEN 1 ELSE 0 END) AS dm,
         max(CASE WHEN k.concept_code ~ '^E1[0-4][2-57]' THEN 1 ELSE 0 END) AS dm_complicated,
         max(CASE WHEN left(k.concept_code, 3) IN ('N18', 'N19') THEN 1 ELSE 0 END) AS renal,
         max(CASE WHEN left(k.concept_code, 3) IN ('C77', 'C78', 'C79', 'C80') THEN 1 ELSE 0 END) AS metastatic
  FROM condition_occurrence c JOIN concept k ON k.concept_id = c.condition_source_concept_id
  GROUP BY c.visit_occurrence_id
), years AS (
  SELECT v.visit_occurrence_id, extract(year FROM v.visit_start_date) - p.year_of_birth AS age
  FROM visit_occurrence v JOIN person p USING (person_id)
)
SELECT y.visit_occurrence_id, dx.mi, dx.chf, dx.renal,
       CASE WHEN y.age <= 50 THEN 0 WHEN y.age <= 60 THEN 1 WHEN y.age <= 70 THEN 2 WHEN y.age <= 80 THEN 3 ELSE 4 END
       + coalesce(mi + chf + pvd + stroke + copd + greatest(dm, 2 * dm_complicated) + 2 * renal + 6 * metastatic, 0) AS charlson
FROM years y LEFT JOIN dx ON dx.visit_occurrence_id = y.visit_occurrence_id;

-- Height, the first of the stay, else the first of all, in centimetres.
SELECT DISTINCT ON (d.visit_detail_id) d.visit_detail_id,
       round(CASE WHEN m.unit_source_value = 'in' THEN m.value_as_number * 2.54 ELSE m.value_as_number END, 1) AS height
FROM visit_detail d JOIN measurement m ON m.person_id = d.person_id AND m.measurement_concept_id = 3036277
WHERE m.value_as_number > 0
ORDER BY d.visit_detail_id, (m.visit_detail_id = d.visit_detail_id) DESC NULLS LAST, m.measurement_datetime;

-- From when until when a weight was the last known.
WITH w AS (
  SELECT visit_detail_id, measurement_datetime AS at, avg(value_as_number) AS weight
  FROM measurement WHERE measurement_concept_id = 3025315 AND value_as_number BETWEEN 20 AND 400
  GROUP BY visit_detail_id, measurement_datetime
), numbered AS (
  SELECT w.*, row_number() OVER stay AS n, lead(at) OVER stay AS until FROM w WINDOW stay AS (PARTITION BY visit_detail_id ORDER BY at)
)
SELECT d.visit_detail_id,
       CASE WHEN n.n = 1 THEN least(n.at, d.visit_detail_start_datetime - interval '2 hours') ELSE n.at END AS start_time,
       coalesce(n.until, greatest(n.at, d.visit_detail_end_datetime) + interval '2 hours') AS end_time, n.weight
FROM visit_detail d JOIN numbered n USING (visit_detail_id);

-- Code status: the first, the last, and whether comfort measures were ever ordered.
SELECT visit_detail_id,
       (array_agg(value_as_concept_id ORDER BY observation_datetime))[1] AS first_status,
       (array_agg(value_as_concept_id ORDER BY observation_datetime DESC))[1] AS last_status,
       bool_or(value_as_concept_id = 4127294) AS comfort_ever,
       min(observation_datetime) FILTER (WHERE value_as_concept_id = 4127294) AS comfort_at
FROM observation WHERE observation_concept_id = 44791549 GROUP BY visit_detail_id;

-- Services: the service when the stay began, with the one it was taken over from.
SELECT d.visit_detail_id, o.value_as_concept_id AS service,
       lag(o.value_as_concept_id) OVER (PARTITION BY o.visit_occurrence_id ORDER BY o.observation_datetime) AS previous_service
FROM visit_detail d
LEFT JOIN LATERAL (
  SELECT s.* FROM observation s
  WHERE s.visit_occurrence_id = d.visit_occurrence_id AND s.observation_concept_id = 4149299
    AND s.observation_datetime <= d.visit_detail_start_datetime + interval '12 hours'
  ORDER BY s.observation_datetime DESC LIMIT 1
) o ON true;
