-- SIRS on the first day.
SELECT v.visit_detail_id,
       CASE WHEN v.temp_max > 38.0 THEN 1 ELSE 0 END + CASE WHEN v.hr_max > 90 THEN 1 ELSE 0 END + CASE WHEN v.rr_max > 20 THEN 1 ELSE 0 END
       + CASE WHEN l.wbc_max > 12 OR l.wbc_min < 4 THEN 1 ELSE 0 END AS sirs
FROM (
  SELECT m.visit_detail_id, max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3020891) AS temp_max,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3027018) AS hr_max,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3024171) AS rr_max
  FROM measurement m JOIN visit_detail d ON d.visit_detail_id = m.visit_detail_id
   AND m.measurement_datetime < d.visit_detail_start_datetime + interval '1 day' GROUP BY 1
) v LEFT JOIN (
  SELECT m.visit_detail_id, max(m.value_as_number) AS wbc_max, min(m.value_as_number) AS wbc_min FROM measurement m
  WHERE m.measurement_concept_id = 3000905 GROUP BY m.visit_detail_id
) l ON l.visit_detail_id = v.visit_detail_id;

-- SOFA for each hour of the stay: the worst of the last day of each component.
WITH RECURSIVE grid AS (
  SELECT visit_detail_id, 0 AS hr, visit_detail_start_datetime AS starttime, visit_detail_end_datetime AS stop
  FROM visit_detail WHERE visit_detail_concept_id = 32037
  UNION ALL
  SELECT visit_detail_id, hr + 1, starttime + interval '1 hour', stop FROM grid WHERE starttime + interval '1 hour' < stop AND hr < 240
), raw AS (
  SELECT g.visit_detail_id, g.hr,
         min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3024929) AS platelets,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3024128) AS bilirubin,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3016723) AS creatinine,
         min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3032652) AS gcs,
         min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3027598) AS map
  FROM grid g LEFT JOIN measurement m ON m.visit_detail_id = g.visit_detail_id
   AND m.measurement_datetime > g.starttime AND m.measurement_datetime <= g.starttime + interval '1 hour'
  GROUP BY g.visit_detail_id, g.hr
), points AS (
  SELECT visit_detail_id, hr,
         CASE WHEN platelets < 20 THEN 4 WHEN platelets < 50 THEN 3 WHEN platelets < 100 THEN 2 WHEN platelets < 150 THEN 1 WHEN platelets IS NULL THEN NULL ELSE 0 END AS coagulation,
         CASE WHEN bilirubin >= 12 THEN 4 WHEN bilirubin >= 6 THEN 3 WHEN bilirubin >= 2 THEN 2 WHEN bilirubin >= 1.2 THEN 1 WHEN bilirubin IS NULL THEN NULL ELSE 0 END AS liver,
         CASE WHEN map < 70 THEN 1 WHEN map IS NULL THEN NULL ELSE 0 END AS cardiovascular,
         CASE WHEN gcs >= 13 AND gcs <= 14 THEN 1 WHEN gcs >= 10 AND gcs <= 12 THEN 2 WHEN gcs >= 6 AND gcs <= 9 THEN 3 WHEN gcs < 6 THEN 4 WHEN gcs IS NULL THEN NULL ELSE 0 END AS cns,
         CASE WHEN creatinine >= 5 THEN 4 WHEN creatinine >= 3.5 THEN 3 WHEN creatinine >= 2 THEN 2 WHEN creatinine >= 1.2 THEN 1 WHEN creatinine IS NULL THEN NULL ELSE 0 END AS renal
  FROM raw
)
SELECT visit_detail_id, hr,
       coalesce(max(coagulation) OVER d, 0) + coalesce(max(liver) OVER d, 0) + coalesce(max(cardiovascular) OVER d, 0)
       + coalesce(max(cns) OVER d, 0) + coalesce(max(renal) OVER d, 0) AS sofa_24
FROM points WHERE hr >= 0
WINDOW d AS (PARTITION BY visit_detail_id ORDER BY hr ROWS BETWEEN 23 PRECEDING AND 0 FOLLOWING);

-- KDIGO: the stage by creatinine against the lowest of two and of seven days.
WITH cr AS (
  SELECT visit_detail_id, measurement_datetime AS at, avg(value_as_number) AS creat
  FROM measurement WHERE measurement_concept_id = 3016723 AND value_as_number <= 150 GROUP BY 1, 2
), low AS (
  SELECT a.visit_detail_id, a.at, a.creat,
         (SELECT min(b.creat) FROM cr b WHERE b.visit_detail_id = a.visit_detail_id AND b.at < a.at AND b.at >= a.at - interval '48 hours') AS low_48,
         (SELECT min(b.creat) FROM cr b WHERE b.visit_detail_id = a.visit_detail_id AND b.at < a.at AND b.at >= a.at - interval '7 days') AS low_7
  FROM cr a
)
SELECT visit_detail_id, at, creat,
       CASE WHEN creat >= low_7 * 3 THEN 3
            WHEN creat >= 4 AND (low_48 <= 3.7 OR creat >= 1.5 * low_7) THEN 3
            WHEN creat >= low_7 * 2 THEN 2
            WHEN creat >= low_48 + 0.3 OR creat >= low_7 * 1.5 THEN 1 ELSE 0 END AS stage,
       max(CASE WHEN creat >= low_48 + 0.3 THEN 1 ELSE 0 END) OVER (PARTITION BY visit_detail_id ORDER BY at RANGE BETWEEN interval '6 hours' PRECEDING AND CURRENT ROW) AS smoothed
FROM low;

-- MELD, on the first day.
WITH labs AS (
  SELECT d.visit_detail_id,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3016723) AS creatinine,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3024128) AS bilirubin,
         max(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3022217) AS inr,
         min(m.value_as_number) FILTER (WHERE m.measurement_concept_id = 3019550) AS sodium
  FROM visit_detail d JOIN measurement m USING (visit_detail_id) GROUP BY d.visit_detail_id
), score AS (
  SELECT labs.*, 0.957 * ln(greatest(least(creatinine, 4), 1)) + 0.378 * ln(greatest(bilirubin, 1)) + 1.12 * ln(greatest(inr, 1)) + 0.643 AS raw FROM labs
)
SELECT visit_detail_id, least(round((10 * raw)::numeric, 1), 40) AS meld,
       CASE WHEN raw > 1.1 THEN raw * 10 + 1.32 * (137 - greatest(125, least(sodium, 137))) - 0.033 * raw * 10 * (137 - greatest(125, least(sodium, 137))) END AS meld_na
FROM score;

-- qSOFA with the shock index and a flag for each missing component.
SELECT s.visit_detail_id,
       (s.sbp_min <= 100)::int + (s.rr_max >= 22)::int + coalesce((s.gcs_min < 15)::int, 0) AS qsofa,
       s.hr_max / nullif(s.sbp_min, 0) AS shock_index, num_nulls(s.sbp_min, s.rr_max, s.gcs_min) AS missing
FROM (
  SELECT visit_detail_id,
         min(CASE measurement_concept_id WHEN 3004249 THEN value_as_number END) AS sbp_min,
         max(CASE measurement_concept_id WHEN 3024171 THEN value_as_number END) AS rr_max,
         min(CASE measurement_concept_id WHEN 3032652 THEN value_as_number END) AS gcs_min,
         max(CASE measurement_concept_id WHEN 3027018 THEN value_as_number END) AS hr_max
  FROM measurement GROUP BY visit_detail_id
) s;

-- OASIS: the part that time, age and elective surgery give.
SELECT d.visit_detail_id,
       CASE WHEN pre.minutes < 10.2 THEN 5 WHEN pre.minutes < 297 THEN 3 WHEN pre.minutes < 1440 THEN 0 WHEN pre.minutes < 18708 THEN 2 ELSE 1 END AS prelos_score,
       CASE WHEN pre.age < 24 THEN 0 WHEN pre.age <= 53 THEN 3 WHEN pre.age <= 77 THEN 6 WHEN pre.age <= 89 THEN 9 ELSE 7 END AS age_score,
       1 / (1 + exp(-(-6.1746 + 0.1275 * pre.age))) AS probability
FROM visit_detail d
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM d.visit_detail_start_datetime - v.visit_start_datetime) / 60 AS minutes,
         extract(year FROM age(d.visit_detail_start_datetime, p.birth_datetime))::numeric AS age
  FROM visit_occurrence v JOIN person p ON p.person_id = v.person_id WHERE v.visit_occurrence_id = d.visit_occurrence_id
) pre;

-- Sepsis: infection suspected and two points of organ dysfunction between two days before and one after.
WITH soi AS (
  SELECT e.person_id, e.visit_detail_id, min(e.drug_exposure_start_datetime) AS suspected
  FROM drug_exposure e WHERE e.drug_concept_id IN (1707687, 1709170) GROUP BY 1, 2
), dysfunction AS (
  SELECT visit_detail_id, measurement_datetime AS at, sum(CASE WHEN measurement_concept_id = 3024929 AND value_as_number < 100 THEN 2
    WHEN measurement_concept_id = 3016723 AND value_as_number >= 2 THEN 2 WHEN measurement_concept_id = 3024128 AND value_as_number >= 2 THEN 2 ELSE 0 END) AS points
  FROM measurement GROUP BY visit_detail_id, measurement_datetime
), joined AS (
  SELECT soi.*, y.at, y.points, row_number() OVER (PARTITION BY soi.visit_detail_id ORDER BY soi.suspected, y.at) AS rn
  FROM soi JOIN dysfunction y ON y.visit_detail_id = soi.visit_detail_id AND y.points >= 2
   AND y.at BETWEEN soi.suspected - interval '48 hours' AND soi.suspected + interval '24 hours'
)
SELECT person_id, visit_detail_id, suspected, at AS sofa_time, points, (points >= 2) AS sepsis FROM joined WHERE rn = 1;

-- Mortality by quartile of the first day's lactate.
SELECT quartile, count(*) AS stays, avg(died) AS mortality, min(lactate) AS lowest, max(lactate) AS highest FROM (
  SELECT m.visit_detail_id, max(m.value_as_number) AS lactate, ntile(4) OVER (ORDER BY max(m.value_as_number)) AS quartile,
         max(CASE WHEN x.death_datetime < v.visit_end_datetime + interval '30 days' THEN 1 ELSE 0 END) AS died
  FROM measurement m JOIN visit_occurrence v ON v.visit_occurrence_id = m.visit_occurrence_id
  LEFT JOIN death x ON x.person_id = m.person_id
  WHERE m.measurement_concept_id = 3047181
  GROUP BY m.visit_detail_id
) q GROUP BY quartile ORDER BY quartile;

-- Discharge notes that mention a fall, counted by class of note.
SELECT n.note_class_concept_id, count(*) AS notes, sum(CASE WHEN n.note_text ~* '\mfall(s|en)?\M' THEN 1 ELSE 0 END) AS falls
FROM note n WHERE n.note_type_concept_id = 44814637 GROUP BY n.note_class_concept_id;

-- Who was followed up for a year, by month of the first visit.
SELECT to_char(f.first_visit, 'YYYY-MM') AS month, count(*) AS persons,
       count(*) FILTER (WHERE o.observation_period_end_date >= f.first_visit + 365) AS followed
FROM (SELECT person_id, min(visit_start_date) AS first_visit FROM visit_occurrence GROUP BY person_id) f
JOIN observation_period o ON o.person_id = f.person_id AND f.first_visit BETWEEN o.observation_period_start_date AND o.observation_period_end_date
GROUP BY to_char(f.first_visit, 'YYYY-MM');
