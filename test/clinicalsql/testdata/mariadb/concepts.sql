-- Concepts of intensive care as somebody writes them for MariaDB. A statement ends with its line.

-- Age at each admission, with ages over 89 put together.
SELECT v.visit_occurrence_id, v.person_id,
       IF(TIMESTAMPDIFF(YEAR, p.birth_datetime, v.visit_start_datetime) > 89, 91, TIMESTAMPDIFF(YEAR, p.birth_datetime, v.visit_start_datetime)) AS age
FROM visit_occurrence v INNER JOIN person p ON p.person_id = v.person_id
WHERE v.visit_concept_id IN (9201, 262);

-- Stays with their order and length.
SELECT d.person_id, d.visit_occurrence_id, d.visit_detail_id, g.concept_name AS gender,
       DATEDIFF(v.visit_end_datetime, v.visit_start_datetime) AS los_hospital,
       ROUND(TIMESTAMPDIFF(HOUR, d.visit_detail_start_datetime, d.visit_detail_end_datetime) / 24, 2) AS los_icu,
       DENSE_RANK() OVER (PARTITION BY d.person_id ORDER BY v.visit_start_datetime) AS hospital_stay,
       x.death_date IS NOT NULL AND x.death_date <= v.visit_end_date AS died_here
FROM visit_detail d
JOIN visit_occurrence v USING (visit_occurrence_id)
JOIN person p ON p.person_id = d.person_id
LEFT JOIN concept g ON g.concept_id = p.gender_concept_id
LEFT JOIN death x ON x.person_id = p.person_id
WHERE d.visit_detail_concept_id = 32037;

-- Each hour of each stay.
WITH RECURSIVE hours AS (
  SELECT visit_detail_id, 0 AS hr, visit_detail_start_datetime AS starttime, visit_detail_end_datetime AS stop
  FROM visit_detail WHERE visit_detail_concept_id = 32037
  UNION ALL
  SELECT visit_detail_id, hr + 1, starttime + INTERVAL 1 HOUR, stop FROM hours WHERE starttime + INTERVAL 1 HOUR < stop AND hr < 240
)
SELECT visit_detail_id, hr, DATE_FORMAT(starttime, '%Y-%m-%d %H:00:00') AS end_time FROM hours;

-- Readmission within two days.
SELECT s.person_id, s.visit_detail_id, COALESCE(s.next_in < DATE_ADD(s.visit_detail_end_datetime, INTERVAL 48 HOUR), 0) AS readmitted
FROM (
  SELECT person_id, visit_detail_id, visit_detail_end_datetime,
         LEAD(visit_detail_start_datetime) OVER (PARTITION BY person_id ORDER BY visit_detail_start_datetime) AS next_in
  FROM visit_detail WHERE visit_detail_concept_id = 32037
) s;

-- Comorbidity.
WITH dx AS (
  SELECT c.visit_occurrence_id,
         MAX(k.concept_code REGEXP '^(I21|I22|I252)') AS mi,
         MAX(LEFT(k.concept_code, 3) IN ('I43', 'I50') OR k.concept_code LIKE 'I420%') AS chf,
         MAX(CASE WHEN SUBSTR(k.concept_code, 1, 3) BETWEEN 'J40' AND 'J47' THEN 1 ELSE 0 END) AS copd,
         MAX(CASE WHEN SUBSTRING(k.concept_code FROM 1 FOR 3) IN ('N18', 'N19') THEN 1 ELSE 0 END) AS renal
  FROM condition_occurrence c JOIN concept k ON k.concept_id = c.condition_source_concept_id
  GROUP BY c.visit_occurrence_id
)
SELECT v.visit_occurrence_id,
       CASE WHEN YEAR(v.visit_start_date) - p.year_of_birth <= 50 THEN 0 WHEN YEAR(v.visit_start_date) - p.year_of_birth <= 60 THEN 1 ELSE 2 END
       + IFNULL(dx.mi + dx.chf + dx.copd + 2 * dx.renal, 0) AS charlson
FROM visit_occurrence v JOIN person p USING (person_id) LEFT JOIN dx ON dx.visit_occurrence_id = v.visit_occurrence_id;

-- Blood gases with the latest oxygen before.
WITH bg AS (
  SELECT person_id, measurement_datetime AS charttime,
         MAX(IF(measurement_concept_id = 3010421, value_as_number, NULL)) AS ph,
         MAX(IF(measurement_concept_id = 3027801, value_as_number, NULL)) AS po2
  FROM measurement WHERE measurement_concept_id IN (3010421, 3027801)
  GROUP BY person_id, measurement_datetime
), fio2 AS (
  SELECT person_id, measurement_datetime AS charttime, MAX(value_as_number) AS fio2
  FROM measurement WHERE measurement_concept_id = 3020716 GROUP BY 1, 2
), matched AS (
  SELECT bg.*, fio2.fio2, ROW_NUMBER() OVER (PARTITION BY bg.person_id, bg.charttime ORDER BY fio2.charttime DESC) AS latest
  FROM bg LEFT JOIN fio2 ON fio2.person_id = bg.person_id
   AND fio2.charttime BETWEEN bg.charttime - INTERVAL 4 HOUR AND bg.charttime
)
SELECT person_id, charttime, ph, po2, 100 * po2 / NULLIF(fio2, 0) AS pao2fio2 FROM matched WHERE latest = 1;

-- Vital signs of the first day.
SELECT d.visit_detail_id,
       MIN(CASE WHEN m.measurement_concept_id = 3027018 THEN m.value_as_number END) AS hr_min,
       MAX(CASE WHEN m.measurement_concept_id = 3027018 THEN m.value_as_number END) AS hr_max,
       ROUND(AVG(CASE WHEN m.measurement_concept_id = 3020891 AND m.unit_concept_id = 9289 THEN (m.value_as_number - 32) / 1.8
                      WHEN m.measurement_concept_id = 3020891 THEN m.value_as_number END), 2) AS temperature
FROM visit_detail d
LEFT JOIN measurement m ON m.visit_detail_id = d.visit_detail_id
 AND m.measurement_datetime BETWEEN DATE_SUB(d.visit_detail_start_datetime, INTERVAL 6 HOUR) AND DATE_ADD(d.visit_detail_start_datetime, INTERVAL 1 DAY)
GROUP BY d.visit_detail_id;

-- Ventilation in episodes.
WITH vs AS (
  SELECT visit_detail_id, measurement_datetime AS charttime,
         CASE WHEN MAX(value_as_concept_id IN (4235042, 45768197)) = 1 THEN 'Invasive' ELSE 'NonInvasive' END AS status
  FROM measurement WHERE measurement_concept_id IN (3004921, 36304672) GROUP BY visit_detail_id, measurement_datetime
), marked AS (
  SELECT visit_detail_id, charttime, status,
         LAG(charttime) OVER w AS before_at, LAG(status) OVER w AS before_status
  FROM vs WINDOW w AS (PARTITION BY visit_detail_id ORDER BY charttime)
), seq AS (
  SELECT visit_detail_id, charttime, status,
         SUM(CASE WHEN before_at IS NULL OR TIMESTAMPDIFF(HOUR, before_at, charttime) >= 14 OR before_status <> status THEN 1 ELSE 0 END)
           OVER (PARTITION BY visit_detail_id ORDER BY charttime) AS n
  FROM marked
)
SELECT visit_detail_id, MIN(charttime) AS starttime, MAX(charttime) AS endtime, MAX(status) AS status
FROM seq GROUP BY visit_detail_id, n HAVING MIN(charttime) <> MAX(charttime);

-- Vasopressors as noradrenaline.
WITH drips AS (
  SELECT visit_detail_id, drug_concept_id, drug_exposure_start_datetime AS starttime, drug_exposure_end_datetime AS endtime, quantity AS rate
  FROM drug_exposure WHERE drug_concept_id IN (1321341, 1343916, 1337860) AND quantity IS NOT NULL
), tm AS (
  SELECT visit_detail_id, starttime AS at FROM drips UNION SELECT visit_detail_id, endtime FROM drips
), spans AS (
  SELECT visit_detail_id, at AS starttime, LEAD(at) OVER (PARTITION BY visit_detail_id ORDER BY at) AS endtime FROM tm
)
SELECT s.visit_detail_id, s.starttime, s.endtime, ROUND(SUM(IF(d.drug_concept_id = 1337860, d.rate / 100, d.rate)), 4) AS equivalent
FROM spans s JOIN drips d ON d.visit_detail_id = s.visit_detail_id AND d.starttime < s.endtime AND d.endtime > s.starttime
WHERE s.endtime IS NOT NULL
GROUP BY s.visit_detail_id, s.starttime, s.endtime;

-- Suspicion of infection.
SELECT e.person_id, e.drug_exposure_id,
       EXISTS (SELECT 1 FROM specimen s WHERE s.person_id = e.person_id
               AND s.specimen_datetime BETWEEN e.drug_exposure_start_datetime - INTERVAL 3 DAY AND e.drug_exposure_start_datetime + INTERVAL 1 DAY) AS suspected
FROM drug_exposure e JOIN concept_ancestor a ON a.descendant_concept_id = e.drug_concept_id AND a.ancestor_concept_id = 21602796;

-- KDIGO by creatinine.
WITH cr AS (
  SELECT visit_detail_id, measurement_datetime AS at, AVG(value_as_number) AS creat
  FROM measurement WHERE measurement_concept_id = 3016723 GROUP BY visit_detail_id, measurement_datetime
), low AS (
  SELECT a.visit_detail_id, a.at, a.creat,
         (SELECT MIN(b.creat) FROM cr b WHERE b.visit_detail_id = a.visit_detail_id AND b.at < a.at AND b.at >= a.at - INTERVAL 7 DAY) AS low_7
  FROM cr a
)
SELECT visit_detail_id, at, creat, CASE WHEN creat >= low_7 * 3 THEN 3 WHEN creat >= low_7 * 2 THEN 2 WHEN creat >= low_7 * 1.5 THEN 1 ELSE 0 END AS stage FROM low;

-- Urine over the last day.
SELECT a.visit_detail_id, a.measurement_datetime,
       SUM(b.value_as_number) / 24 / NULLIF((SELECT AVG(w.value_as_number) FROM measurement w WHERE w.measurement_concept_id = 3025315 AND w.visit_detail_id = a.visit_detail_id), 0) AS rate_24
FROM measurement a JOIN measurement b ON b.visit_detail_id = a.visit_detail_id AND b.measurement_concept_id = 3014315
 AND TIMESTAMPDIFF(HOUR, b.measurement_datetime, a.measurement_datetime) BETWEEN 0 AND 23
WHERE a.measurement_concept_id = 3014315
GROUP BY a.visit_detail_id, a.measurement_datetime;

-- MELD.
SELECT visit_detail_id, LEAST(ROUND(10 * (0.957 * LN(GREATEST(LEAST(creatinine, 4), 1)) + 0.378 * LN(GREATEST(bilirubin, 1)) + 1.12 * LN(GREATEST(inr, 1)) + 0.643), 1), 40) AS meld
FROM (
  SELECT visit_detail_id,
         MAX(IF(measurement_concept_id = 3016723, value_as_number, NULL)) AS creatinine,
         MAX(IF(measurement_concept_id = 3024128, value_as_number, NULL)) AS bilirubin,
         MAX(IF(measurement_concept_id = 3022217, value_as_number, NULL)) AS inr
  FROM measurement GROUP BY visit_detail_id
) labs;

-- Resistant organisms of each specimen.
SELECT s.specimen_id, k.concept_name AS specimen, MAX(m.value_as_concept_id IS NOT NULL) AS positive,
       GROUP_CONCAT(DISTINCT o.concept_name ORDER BY o.concept_name SEPARATOR ', ') AS resistant
FROM specimen s
JOIN concept k ON k.concept_id = s.specimen_concept_id
LEFT JOIN measurement m ON m.person_id = s.person_id AND m.measurement_date = s.specimen_date AND m.value_source_value = 'R'
LEFT JOIN concept o ON o.concept_id = m.measurement_concept_id
GROUP BY s.specimen_id, k.concept_name;

-- Mortality by quartile of lactate.
SELECT quartile, COUNT(*) AS stays, AVG(died) AS mortality FROM (
  SELECT visit_detail_id, died, NTILE(4) OVER (ORDER BY lactate) AS quartile FROM (
    SELECT m.visit_detail_id, MAX(m.value_as_number) AS lactate, MAX(x.death_datetime < v.visit_end_datetime + INTERVAL 30 DAY) AS died
    FROM measurement m JOIN visit_occurrence v ON v.visit_occurrence_id = m.visit_occurrence_id LEFT JOIN death x ON x.person_id = m.person_id
    WHERE m.measurement_concept_id = 3047181 GROUP BY m.visit_detail_id
  ) worst
) q GROUP BY quartile ORDER BY quartile;

-- Median days of supply, as an ordered-set function over a window.
SELECT DISTINCT drug_concept_id, MEDIAN(days_supply) OVER (PARTITION BY drug_concept_id) AS median_days FROM drug_exposure;

-- Notes that mention a fall, by class.
SELECT n.note_class_concept_id, COUNT(*) AS notes, SUM(n.note_text REGEXP '\\bfall(s|en)?\\b') AS falls FROM note n GROUP BY n.note_class_concept_id;

-- Who was followed up for a year, by month of the first visit.
SELECT DATE_FORMAT(f.first_visit, '%Y-%m') AS month, COUNT(*) AS persons,
       SUM(o.observation_period_end_date >= f.first_visit + INTERVAL 365 DAY) AS followed
FROM (SELECT person_id, MIN(visit_start_date) AS first_visit FROM visit_occurrence GROUP BY person_id) f
JOIN observation_period o ON o.person_id = f.person_id AND f.first_visit BETWEEN o.observation_period_start_date AND o.observation_period_end_date
GROUP BY DATE_FORMAT(f.first_visit, '%Y-%m');

-- Charges by kind of visit and year, with totals.
SELECT v.visit_concept_id, YEAR(v.visit_start_datetime) AS year, SUM(c.total_charge) AS charged
FROM cost c JOIN visit_occurrence v ON v.visit_occurrence_id = c.cost_event_id AND c.cost_domain_id = 'Visit'
GROUP BY v.visit_concept_id, YEAR(v.visit_start_datetime) WITH ROLLUP;

-- The balance of each day of the stay.
SELECT visit_detail_id, day, SUM(ml) AS balance, SUM(SUM(ml)) OVER (PARTITION BY visit_detail_id ORDER BY day) AS cumulative FROM (
  SELECT visit_detail_id, DATE(drug_exposure_start_datetime) AS day, quantity AS ml FROM drug_exposure
  UNION ALL
  SELECT visit_detail_id, DATE(measurement_datetime), -value_as_number FROM measurement WHERE measurement_concept_id IN (3014315, 3037253)
) flow GROUP BY visit_detail_id, day;
