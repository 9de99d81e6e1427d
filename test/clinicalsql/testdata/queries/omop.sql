-- How many people are there by age decade and gender at their first visit?
SELECT g.concept_name AS gender, (extract(year FROM f.first_visit)::int - p.year_of_birth) / 10 * 10 AS age_decade, count(*) AS persons
FROM person p
JOIN (SELECT person_id, min(visit_start_date) AS first_visit FROM visit_occurrence GROUP BY person_id) f USING (person_id)
JOIN concept g ON g.concept_id = p.gender_concept_id
GROUP BY 1, 2 ORDER BY 1, 2;
-- Eras of a condition: occurrences no more than 30 days apart are one.
WITH o AS (
  SELECT person_id, condition_concept_id, condition_start_date AS d0, coalesce(condition_end_date, condition_start_date + 1) AS d1 FROM condition_occurrence
), marked AS (
  SELECT *, CASE WHEN d0 <= max(d1) OVER (PARTITION BY person_id, condition_concept_id ORDER BY d0 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 30
    THEN 0 ELSE 1 END AS fresh FROM o
), numbered AS (
  SELECT *, sum(fresh) OVER (PARTITION BY person_id, condition_concept_id ORDER BY d0 ROWS UNBOUNDED PRECEDING) AS era FROM marked
)
SELECT condition_concept_id, count(*) AS eras, avg(days) AS mean_days
FROM (SELECT person_id, condition_concept_id, era, max(d1) - min(d0) AS days FROM numbered GROUP BY 1, 2, 3) e GROUP BY 1;
-- A cohort: the first exposure after 365 days of observation.
CREATE TABLE first_exposure AS
SELECT person_id, start_date FROM (
  SELECT e.person_id, e.drug_exposure_start_date AS start_date, row_number() OVER (PARTITION BY e.person_id ORDER BY e.drug_exposure_start_date) AS n
  FROM drug_exposure e JOIN concept_ancestor a ON a.descendant_concept_id = e.drug_concept_id AND a.ancestor_concept_id = 1503297
) x JOIN observation_period o USING (person_id)
WHERE n = 1 AND start_date >= o.observation_period_start_date + interval '365 days' AND start_date <= o.observation_period_end_date;
-- Who of it had a measurement out of its range within 90 days?
SELECT count(DISTINCT c.person_id) FILTER (WHERE m.value_as_number > m.range_high) AS high, count(DISTINCT c.person_id) AS persons
FROM first_exposure c LEFT JOIN measurement m ON m.person_id = c.person_id AND m.measurement_date BETWEEN c.start_date AND c.start_date + 90;
-- Quartiles of days of supply by drug.
SELECT drug_concept_id, percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY days_supply) AS quartiles FROM drug_exposure GROUP BY 1;
-- Mortality within 30 days of a visit, by year.
SELECT extract(year FROM v.visit_start_date) AS year, avg((d.death_date <= v.visit_start_date + 30)::int) AS mortality
FROM visit_occurrence v LEFT JOIN death d USING (person_id) WHERE v.visit_concept_id IN (9201, 262) GROUP BY ROLLUP (1);
