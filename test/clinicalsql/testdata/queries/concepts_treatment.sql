-- Mechanical ventilation: settings that are less than fourteen hours apart are one episode.
WITH vs AS (
  SELECT visit_detail_id, measurement_datetime AS charttime,
         CASE WHEN bool_or(value_as_concept_id IN (4235042, 45768197)) THEN 'Invasive'
              WHEN bool_or(value_source_value ILIKE '%bipap%' OR value_source_value ILIKE '%cpap%') THEN 'NonInvasive'
              WHEN bool_or(value_source_value ILIKE ANY (ARRAY['%nasal cannula%', '%face tent%'])) THEN 'Supplemental'
              ELSE NULL END AS status
  FROM measurement WHERE measurement_concept_id IN (3004921, 36304672) GROUP BY 1, 2
), vd0 AS (
  SELECT visit_detail_id, charttime, status,
         lag(charttime) OVER w AS charttime_lag, lead(charttime) OVER w AS charttime_lead, lag(status) OVER w AS status_lag
  FROM vs WHERE status IS NOT NULL WINDOW w AS (PARTITION BY visit_detail_id ORDER BY charttime)
), vd1 AS (
  SELECT *, CASE WHEN status_lag IS NULL THEN 1
                 WHEN extract(epoch FROM charttime - charttime_lag) / 3600 >= 14 THEN 1
                 WHEN status_lag <> status THEN 1 ELSE 0 END AS new_event FROM vd0
), vd2 AS (
  SELECT *, sum(new_event) OVER (PARTITION BY visit_detail_id ORDER BY charttime) AS seq FROM vd1
)
SELECT visit_detail_id, min(charttime) AS starttime,
       max(CASE WHEN charttime_lead IS NULL OR extract(epoch FROM charttime_lead - charttime) / 3600 >= 14 THEN charttime ELSE charttime_lead END) AS endtime,
       max(status) AS status
FROM vd2 GROUP BY visit_detail_id, seq HAVING min(charttime) <> max(charttime);

-- Oxygen devices at each time, up to four beside each other.
WITH devices AS (
  SELECT person_id, visit_detail_id, device_exposure_start_datetime AS charttime, device_source_value AS device,
         row_number() OVER (PARTITION BY person_id, device_exposure_start_datetime ORDER BY device_source_value) AS n
  FROM device_exposure WHERE device_source_value <> 'None'
)
SELECT person_id, max(visit_detail_id) AS visit_detail_id, charttime,
       max(CASE WHEN n = 1 THEN device END) AS device_1, max(CASE WHEN n = 2 THEN device END) AS device_2,
       max(CASE WHEN n = 3 THEN device END) AS device_3, max(CASE WHEN n = 4 THEN device END) AS device_4
FROM devices GROUP BY person_id, charttime;

-- How long invasive lines lay, by kind.
SELECT visit_detail_id, CASE device_source_value WHEN 'A-Line' THEN 'Arterial' WHEN 'PICC Line' THEN 'PICC' ELSE initcap(device_source_value) END AS line,
       min(device_exposure_start_datetime) AS starttime, max(device_exposure_end_datetime) AS endtime,
       sum(device_exposure_end_datetime - device_exposure_start_datetime) AS total
FROM device_exposure GROUP BY 1, 2;

-- All vasopressors as noradrenaline, over every interval in which none changes.
WITH drips AS (
  SELECT visit_detail_id, drug_concept_id, drug_exposure_start_datetime AS starttime, drug_exposure_end_datetime AS endtime, quantity AS rate
  FROM drug_exposure WHERE drug_concept_id IN (1321341, 1343916, 1337860, 1507835, 1135766) AND quantity IS NOT NULL
), tm AS (
  SELECT visit_detail_id, starttime AS at FROM drips UNION SELECT visit_detail_id, endtime FROM drips
), spans AS (
  SELECT visit_detail_id, at AS starttime, lead(at) OVER (PARTITION BY visit_detail_id ORDER BY at) AS endtime FROM tm
)
SELECT s.visit_detail_id, s.starttime, s.endtime,
       round(sum(CASE d.drug_concept_id WHEN 1321341 THEN d.rate WHEN 1343916 THEN d.rate WHEN 1337860 THEN d.rate / 100
                   WHEN 1135766 THEN d.rate / 10 WHEN 1507835 THEN d.rate * 2.5 / 60 END)::numeric, 4) AS equivalent
FROM spans s JOIN drips d ON d.visit_detail_id = s.visit_detail_id AND d.starttime < s.endtime AND d.endtime > s.starttime
WHERE s.endtime IS NOT NULL
GROUP BY s.visit_detail_id, s.starttime, s.endtime;

-- Antibiotics, by name and route.
CREATE TABLE antibiotic AS
SELECT e.person_id, e.visit_occurrence_id, e.visit_detail_id, k.concept_name AS antibiotic,
       e.drug_exposure_start_datetime AS starttime, e.drug_exposure_end_datetime AS stoptime
FROM drug_exposure e JOIN concept k ON k.concept_id = e.drug_concept_id
WHERE e.route_source_value NOT IN ('OU', 'OS', 'OD', 'AU', 'TP') AND lower(coalesce(e.route_source_value, '')) NOT LIKE '%ear%'
  AND (lower(k.concept_name) LIKE '%cillin%' OR lower(k.concept_name) LIKE 'cef%' OR lower(k.concept_name) ~ '(vancomycin|meropenem|floxacin|mycin)');

-- Suspicion of infection: a culture within a day after an antibiotic, or up to three days before.
WITH ab AS (
  SELECT e.person_id, e.visit_detail_id, e.drug_exposure_id, e.drug_exposure_start_datetime AS at
  FROM drug_exposure e JOIN concept_ancestor a ON a.descendant_concept_id = e.drug_concept_id AND a.ancestor_concept_id = 21602796
), cultures AS (
  SELECT person_id, specimen_id, specimen_datetime AS at FROM specimen WHERE specimen_concept_id IN (4046280, 4045667, 4046834)
), matched AS (
  SELECT ab.person_id, ab.visit_detail_id, ab.drug_exposure_id, ab.at AS antibiotic_time,
         before.at AS culture_before, after.at AS culture_after,
         row_number() OVER (PARTITION BY ab.drug_exposure_id ORDER BY before.at, after.at) AS n
  FROM ab
  LEFT JOIN cultures before ON before.person_id = ab.person_id AND before.at < ab.at AND before.at >= ab.at - interval '72 hours'
  LEFT JOIN cultures after ON after.person_id = ab.person_id AND after.at >= ab.at AND after.at <= ab.at + interval '24 hours'
)
SELECT person_id, visit_detail_id, drug_exposure_id, antibiotic_time,
       CASE WHEN culture_before IS NULL AND culture_after IS NULL THEN 0 ELSE 1 END AS suspected,
       CASE WHEN culture_before IS NOT NULL THEN culture_before WHEN culture_after IS NOT NULL THEN antibiotic_time END AS suspected_time
FROM matched WHERE n = 1;

-- Renal replacement therapy, whether active and of which kind.
SELECT p.visit_detail_id, p.procedure_datetime,
       max(CASE WHEN p.procedure_concept_id IN (4146536, 4120120) THEN 1 ELSE 0 END) AS present,
       string_agg(DISTINCT CASE p.procedure_concept_id WHEN 4146536 THEN 'CVVH' WHEN 4120120 THEN 'IHD' WHEN 4324124 THEN 'Peritoneal' END, ', ') AS kinds
FROM procedure_occurrence p
WHERE EXISTS (SELECT 1 FROM concept_ancestor a WHERE a.descendant_concept_id = p.procedure_concept_id AND a.ancestor_concept_id = 4032243)
GROUP BY p.visit_detail_id, p.procedure_datetime;

-- Intake against output by day of the stay.
WITH inp AS (
  SELECT visit_detail_id, drug_exposure_start_datetime::date AS day, sum(quantity) AS ml FROM drug_exposure GROUP BY 1, 2
), outp AS (
  SELECT visit_detail_id, measurement_datetime::date AS day, sum(value_as_number) AS ml FROM measurement
  WHERE measurement_concept_id IN (3014315, 3037253) GROUP BY 1, 2
)
SELECT coalesce(i.visit_detail_id, o.visit_detail_id) AS visit_detail_id, coalesce(i.day, o.day) AS day,
       coalesce(i.ml, 0) - coalesce(o.ml, 0) AS balance,
       sum(coalesce(i.ml, 0) - coalesce(o.ml, 0)) OVER (PARTITION BY coalesce(i.visit_detail_id, o.visit_detail_id) ORDER BY coalesce(i.day, o.day)) AS cumulative
FROM inp i FULL OUTER JOIN outp o ON o.visit_detail_id = i.visit_detail_id AND o.day = i.day;

-- Eras of a drug by ingredient, with gaps of thirty days allowed.
WITH e AS (
  SELECT x.person_id, a.ancestor_concept_id AS ingredient, x.drug_exposure_start_date AS d0,
         coalesce(nullif(x.drug_exposure_end_date, NULL), x.drug_exposure_start_date + coalesce(nullif(x.days_supply, 0), 1)) AS d1
  FROM drug_exposure x JOIN concept_ancestor a ON a.descendant_concept_id = x.drug_concept_id
  JOIN concept c ON c.concept_id = a.ancestor_concept_id AND c.concept_class_id = 'Ingredient'
), ends AS (
  SELECT person_id, ingredient, day - interval '30 days' AS end_date FROM (
    SELECT person_id, ingredient, day, kind, max(starts) OVER (PARTITION BY person_id, ingredient ORDER BY day, kind ROWS UNBOUNDED PRECEDING) AS starts,
           row_number() OVER (PARTITION BY person_id, ingredient ORDER BY day, kind) AS overall
    FROM (
      SELECT person_id, ingredient, d0 AS day, -1 AS kind, row_number() OVER (PARTITION BY person_id, ingredient ORDER BY d0) AS starts FROM e
      UNION ALL
      SELECT person_id, ingredient, d1 + 30, 1, NULL FROM e
    ) raw
  ) x WHERE 2 * starts - overall = 0
)
SELECT person_id, ingredient, min(d0) AS era_start, era_end FROM (
  SELECT e.person_id, e.ingredient, e.d0, min(n.end_date) AS era_end
  FROM e JOIN ends n ON n.person_id = e.person_id AND n.ingredient = e.ingredient AND n.end_date >= e.d0
  GROUP BY e.person_id, e.ingredient, e.d0
) f GROUP BY person_id, ingredient, era_end;

-- What a stay cost, by who paid.
SELECT v.visit_concept_id, date_trunc('year', v.visit_start_datetime) AS year, sum(c.total_charge) AS charged,
       sum(c.paid_by_payer) AS payer, sum(c.paid_by_patient) AS patient, GROUPING(v.visit_concept_id) AS is_total
FROM cost c JOIN visit_occurrence v ON v.visit_occurrence_id = c.cost_event_id AND c.cost_domain_id = 'Visit'
GROUP BY GROUPING SETS ((1, 2), (2));
