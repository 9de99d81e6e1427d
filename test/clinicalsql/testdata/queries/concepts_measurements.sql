-- Blood gases: one row for each specimen, one column for each analyte.
WITH bg AS (
  SELECT person_id, visit_occurrence_id, measurement_datetime AS charttime,
         max(CASE WHEN measurement_concept_id = 3010421 THEN value_as_number END) AS ph,
         max(CASE WHEN measurement_concept_id = 3027801 THEN value_as_number END) AS po2,
         max(CASE WHEN measurement_concept_id = 3027946 THEN value_as_number END) AS pco2,
         max(CASE WHEN measurement_concept_id = 3047181 AND value_as_number <= 10000 THEN value_as_number END) AS lactate
  FROM measurement WHERE measurement_concept_id IN (3010421, 3027801, 3027946, 3047181)
  GROUP BY person_id, visit_occurrence_id, measurement_datetime
), fio2 AS (
  SELECT person_id, measurement_datetime AS charttime,
         max(CASE WHEN value_as_number > 0.2 AND value_as_number <= 1 THEN value_as_number * 100
                  WHEN value_as_number > 20 AND value_as_number <= 100 THEN value_as_number END) AS fio2
  FROM measurement WHERE measurement_concept_id = 3020716 GROUP BY 1, 2
), matched AS (
  SELECT bg.*, fio2.fio2, row_number() OVER (PARTITION BY bg.person_id, bg.charttime ORDER BY fio2.charttime DESC) AS latest
  FROM bg LEFT JOIN fio2 ON fio2.person_id = bg.person_id
   AND fio2.charttime BETWEEN bg.charttime - interval '4 hours' AND bg.charttime
)
SELECT person_id, visit_occurrence_id, charttime, ph, po2, pco2, lactate, fio2, 100 * po2 / nullif(fio2, 0) AS pao2fio2
FROM matched WHERE latest = 1;

-- Blood counts.
SELECT visit_occurrence_id, measurement_datetime,
       max(value_as_number) FILTER (WHERE measurement_concept_id = 3000905) AS wbc,
       max(value_as_number) FILTER (WHERE measurement_concept_id = 3000963) AS haemoglobin,
       max(value_as_number) FILTER (WHERE measurement_concept_id = 3024929) AS platelets
FROM measurement WHERE measurement_concept_id = ANY (ARRAY[3000905, 3000963, 3024929]) AND value_as_number > 0
GROUP BY visit_occurrence_id, measurement_datetime;

-- Chemistry, with the anion gap.
SELECT c.*, c.sodium - c.chloride - c.bicarbonate AS anion_gap FROM (
  SELECT visit_occurrence_id, measurement_datetime,
         avg(CASE WHEN measurement_concept_id = 3019550 THEN value_as_number END) AS sodium,
         avg(CASE WHEN measurement_concept_id = 3014576 THEN value_as_number END) AS chloride,
         avg(CASE WHEN measurement_concept_id = 3016293 THEN value_as_number END) AS bicarbonate
  FROM measurement GROUP BY visit_occurrence_id, measurement_datetime
) c WHERE c.sodium IS NOT NULL;

-- Vital signs within plausible ranges, temperature in degrees Celsius.
SELECT visit_detail_id, measurement_datetime,
       avg(CASE WHEN measurement_concept_id = 3027018 AND value_as_number > 0 AND value_as_number < 300 THEN value_as_number END) AS heart_rate,
       avg(CASE WHEN measurement_concept_id IN (3004249, 21492239) AND value_as_number BETWEEN 1 AND 399 THEN value_as_number END) AS sbp,
       round(avg(CASE WHEN measurement_concept_id = 3020891 AND unit_concept_id = 9289 AND value_as_number BETWEEN 70 AND 120
                        THEN (value_as_number - 32) / 1.8
                      WHEN measurement_concept_id = 3020891 AND value_as_number BETWEEN 10 AND 50 THEN value_as_number END)::numeric, 2) AS temperature
FROM measurement WHERE visit_detail_id IS NOT NULL GROUP BY visit_detail_id, measurement_datetime;

-- The same of the first day of each stay.
CREATE TABLE first_day_vitals AS
SELECT d.visit_detail_id,
       min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3027018) AS hr_min,
       max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3027018) AS hr_max,
       min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3004249) AS sbp_min,
       max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3024171) AS rr_max,
       max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3020891) AS temp_max,
       min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3027598) AS map_min
FROM visit_detail d
LEFT JOIN measurement m ON m.visit_detail_id = d.visit_detail_id
 AND m.measurement_datetime >= d.visit_detail_start_datetime - interval '6 hours'
 AND m.measurement_datetime <= d.visit_detail_start_datetime + interval '1 day'
GROUP BY d.visit_detail_id;

-- Laboratory values of the first day.
CREATE TABLE first_day_lab AS
SELECT d.visit_detail_id,
       max(CASE WHEN m.measurement_concept_id = 3016723 THEN m.value_as_number END) AS creatinine_max,
       max(CASE WHEN m.measurement_concept_id = 3024128 THEN m.value_as_number END) AS bilirubin_max,
       min(CASE WHEN m.measurement_concept_id = 3024929 THEN m.value_as_number END) AS platelets_min,
       max(CASE WHEN m.measurement_concept_id = 3000905 THEN m.value_as_number END) AS wbc_max,
       min(CASE WHEN m.measurement_concept_id = 3000905 THEN m.value_as_number END) AS wbc_min,
       max(CASE WHEN m.measurement_concept_id = 3013682 THEN m.value_as_number END) AS bun_max
FROM visit_detail d LEFT JOIN measurement m ON m.visit_occurrence_id = d.visit_occurrence_id
 AND m.measurement_datetime BETWEEN d.visit_detail_start_datetime - interval '6 hours' AND d.visit_detail_start_datetime + interval '24 hours'
GROUP BY d.visit_detail_id;

-- Glasgow Coma Scale from its components, with what was known in the six hours before.
WITH parts AS (
  SELECT visit_detail_id, measurement_datetime AS at,
         max(value_as_number) FILTER (WHERE measurement_concept_id = 3008223) AS motor,
         max(value_as_number) FILTER (WHERE measurement_concept_id = 3009094) AS verbal,
         max(value_as_number) FILTER (WHERE measurement_concept_id = 3016335) AS eyes
  FROM measurement GROUP BY 1, 2
), ordered AS (
  SELECT *, row_number() OVER (PARTITION BY visit_detail_id ORDER BY at) AS rn FROM parts
), filled AS (
  SELECT a.visit_detail_id, a.at, coalesce(a.motor, b.motor) AS motor, coalesce(a.verbal, b.verbal) AS verbal, coalesce(a.eyes, b.eyes) AS eyes,
         b.at AS before
  FROM ordered a LEFT JOIN ordered b ON a.visit_detail_id = b.visit_detail_id AND a.rn = b.rn + 1 AND b.at > a.at - interval '6 hours'
)
SELECT visit_detail_id, at, CASE WHEN verbal = 0 THEN 15 ELSE coalesce(motor, 6) + coalesce(verbal, 5) + coalesce(eyes, 4) END AS gcs
FROM filled;

-- Urine in the last 6, 12 and 24 hours, by weight and hour.
WITH uo AS (
  SELECT visit_detail_id, measurement_datetime AS at, sum(value_as_number) AS ml
  FROM measurement WHERE measurement_concept_id = 3014315 GROUP BY visit_detail_id, measurement_datetime
), tm AS (
  SELECT *, extract(epoch FROM at - lag(at) OVER (PARTITION BY visit_detail_id ORDER BY at)) / 3600 AS hours FROM uo
), weights AS (
  SELECT visit_detail_id, avg(value_as_number) AS kg FROM measurement WHERE measurement_concept_id = 3025315 GROUP BY visit_detail_id
)
SELECT a.visit_detail_id, a.at,
       sum(b.ml) FILTER (WHERE b.at > a.at - interval '6 hours') / max(w.kg) / 6 AS rate_6,
       sum(b.ml) FILTER (WHERE b.at > a.at - interval '12 hours') / max(w.kg) / 12 AS rate_12,
       sum(b.ml) / max(w.kg) / 24 AS rate_24, sum(b.hours) AS observed
FROM tm a JOIN tm b ON b.visit_detail_id = a.visit_detail_id AND b.at <= a.at AND b.at > a.at - interval '24 hours'
LEFT JOIN weights w ON w.visit_detail_id = a.visit_detail_id
GROUP BY a.visit_detail_id, a.at;

-- Creatinine before admission, or what is estimated of sex, age and race.
WITH p AS (
  SELECT v.visit_occurrence_id, extract(year FROM v.visit_start_date) - pe.year_of_birth AS age, pe.gender_concept_id = 8532 AS female,
         pe.person_id, v.visit_start_datetime
  FROM visit_occurrence v JOIN person pe ON pe.person_id = v.person_id
), lowest AS (
  SELECT p.visit_occurrence_id, min(m.value_as_number) AS scr_min
  FROM p JOIN measurement m ON m.person_id = p.person_id AND m.measurement_concept_id = 3016723
   AND m.measurement_datetime < p.visit_start_datetime AND m.measurement_datetime >= p.visit_start_datetime - interval '365 days'
  GROUP BY p.visit_occurrence_id
)
SELECT p.visit_occurrence_id,
       coalesce(l.scr_min, power(75.0 / 186.0 / power(nullif(p.age, 0), -0.203) / CASE WHEN p.female THEN 0.742 ELSE 1 END, -1 / 1.154)) AS baseline
FROM p LEFT JOIN lowest l USING (visit_occurrence_id);

-- Measurement values by percentile and histogram, and how many are out of range.
SELECT measurement_concept_id, count(*) AS n, count(DISTINCT person_id) AS persons,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY value_as_number) AS median,
       mode() WITHIN GROUP (ORDER BY unit_source_value) AS unit,
       sum((value_as_number NOT BETWEEN range_low AND range_high)::int) AS abnormal,
       count(*) FILTER (WHERE width_bucket(value_as_number, 0, 100, 10) = 10) AS top_bucket
FROM measurement GROUP BY measurement_concept_id HAVING count(*) > 10 ORDER BY n DESC LIMIT 50;

-- Microbiology: specimens with an organism and what it resists.
SELECT s.specimen_id, s.person_id, s.specimen_datetime, k.concept_name AS specimen,
       max((m.value_as_concept_id IS NOT NULL)::int) AS positive,
       string_agg(DISTINCT o.concept_name, ', ' ORDER BY o.concept_name) FILTER (WHERE m.value_source_value = 'R') AS resistant
FROM specimen s
JOIN concept k ON k.concept_id = s.specimen_concept_id
LEFT JOIN measurement m ON m.person_id = s.person_id AND m.measurement_date = s.specimen_date
LEFT JOIN concept o ON o.concept_id = m.measurement_concept_id AND o.domain_id = 'Measurement'
GROUP BY s.specimen_id, s.person_id, s.specimen_datetime, k.concept_name;
