package main

// The clinic of a million patients, made by the servers themselves. Indexes on
// protected columns are there as in any clinic; the rewriting may do without
// them, since their order is that of raw values (protectedIndexes). Every other
// index must stay in use.
const tables = `
CREATE TABLE patients (
  id int PRIMARY KEY, mrn varchar(20) NOT NULL, first_name varchar(80) NOT NULL, last_name varchar(80) NOT NULL,
  ssn varchar(11), dob date, phone varchar(40), zip varchar(10), clinic int NOT NULL, status varchar(10) NOT NULL,
  created_at timestamp NOT NULL);
CREATE TABLE encounters (
  id int PRIMARY KEY, patient_id int NOT NULL, provider varchar(80) NOT NULL, admitted_at timestamp NOT NULL,
  diagnosis_code varchar(10) NOT NULL, cost decimal(12,2) NOT NULL);`

const indexes = `
CREATE UNIQUE INDEX patients_mrn ON patients (mrn);
CREATE INDEX patients_dob ON patients (dob);
CREATE INDEX patients_zip ON patients (zip);
CREATE INDEX patients_name ON patients (last_name);
CREATE INDEX patients_clinic ON patients (clinic);
CREATE INDEX patients_created ON patients (created_at);
CREATE INDEX encounters_patient ON encounters (patient_id);`

var protectedIndexes = []string{"patients_mrn", "patients_dob", "patients_zip", "patients_name"}

// scripts make the tables of {patients} and {encounters} rows.
var scripts = map[string]string{
	"postgres": tables + `
INSERT INTO patients SELECT i, 'MRN-' || i, 'First' || i % 9973, 'Last' || i % 99991,
  (900 + i % 100) || '-' || (10 + i % 90) || '-' || (1000 + i % 9000), date '1932-01-01' + (i * 7919::bigint % 33000)::int,
  '555-01' || (10 + i % 90), (10000 + i * 31::bigint % 89999)::text, i % 5000,
  CASE WHEN i % 100 = 0 THEN 'rare' WHEN i % 3 = 0 THEN 'inactive' ELSE 'active' END,
  timestamp '2020-01-01' + i * 173::bigint % 157000000 * interval '1 second' FROM generate_series(1, {patients}) i;
INSERT INTO encounters SELECT i, 1 + i * 7::bigint % {patients}, 'Ward ' || i % 40,
  timestamp '2020-01-01' + i * 131::bigint % 157000000 * interval '1 second',
  CASE WHEN i % 4000 = 0 THEN 'R99.' ELSE 'E11.' END || i % 97, i % 9000 FROM generate_series(1, {encounters}) i;` + indexes + `
CREATE INDEX encounters_diagnosis ON encounters (diagnosis_code varchar_pattern_ops);
VACUUM ANALYZE patients;
VACUUM ANALYZE encounters`,
	"mysql": tables + `
INSERT INTO patients SELECT seq, concat('MRN-', seq), concat('First', seq % 9973), concat('Last', seq % 99991),
  concat(900 + seq % 100, '-', 10 + seq % 90, '-', 1000 + seq % 9000), date '1932-01-01' + INTERVAL seq * 7919 % 33000 DAY,
  concat('555-01', 10 + seq % 90), 10000 + seq * 31 % 89999, seq % 5000,
  CASE WHEN seq % 100 = 0 THEN 'rare' WHEN seq % 3 = 0 THEN 'inactive' ELSE 'active' END,
  timestamp '2020-01-01 00:00:00' + INTERVAL seq * 173 % 157000000 SECOND FROM seq_1_to_{patients};
INSERT INTO encounters SELECT seq, 1 + seq * 7 % {patients}, concat('Ward ', seq % 40),
  timestamp '2020-01-01 00:00:00' + INTERVAL seq * 131 % 157000000 SECOND,
  concat(CASE WHEN seq % 4000 = 0 THEN 'R99.' ELSE 'E11.' END, seq % 97), seq % 9000 FROM seq_1_to_{encounters};` + indexes + `
CREATE INDEX encounters_diagnosis ON encounters (diagnosis_code);
ANALYZE TABLE patients, encounters`,
}

// classes are those of the default profile, by column.
var classes = map[string]string{
	"patients.id": "person", "patients.mrn": "mrn", "patients.first_name": "name", "patients.last_name": "name",
	"patients.ssn": "ssn", "patients.dob": "birth_date", "patients.phone": "phone", "patients.zip": "zip",
	"patients.clinic": "none", "patients.status": "none", "patients.created_at": "none",
	"encounters.id": "none", "encounters.patient_id": "person", "encounters.provider": "none",
	"encounters.admitted_at": "date", "encounters.diagnosis_code": "none", "encounters.cost": "none",
}

// shape is one kind of question, as a client writes it. MySQL's text is given
// where it differs. Masks is true if masks must be computed for the answer.
type shape struct {
	name, text, mysql string
	masks             bool
}

var shapes = []shape{
	{name: "look-up by primary key", text: "SELECT id, last_name, zip, clinic FROM patients WHERE id = 471100", masks: true},
	{name: "by an unprotected index", text: "SELECT id, status FROM patients WHERE clinic = 17"},
	{name: "range of an unprotected date", text: "SELECT id, clinic, created_at FROM patients WHERE created_at >= '2024-03-01' AND created_at < '2024-03-02'"},
	{name: "join by key", text: "SELECT p.id, p.status, e.diagnosis_code FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.clinic = 17"},
	{name: "group by an unprotected column", text: "SELECT status, count(*) AS n FROM patients GROUP BY status"},
	{name: "group by year of birth", text: "SELECT extract(year FROM dob) AS born, count(*) AS n FROM patients GROUP BY extract(year FROM dob)", masks: true},
	{name: "group by ZIP", text: "SELECT zip, count(*) AS n FROM patients GROUP BY zip", masks: true},
	{name: "count(*)", text: "SELECT count(*) FROM patients"},
	{name: "top 10 by an unprotected column", text: "SELECT id, status, created_at FROM patients ORDER BY created_at DESC LIMIT 10"},
	{name: "a page by key", text: "SELECT id, status FROM patients WHERE id > 500000 ORDER BY id LIMIT 50"},
	{name: "window rank", text: "SELECT id, rank() OVER (PARTITION BY status ORDER BY created_at) AS place FROM patients WHERE clinic BETWEEN 100 AND 120"},
	{name: "EXISTS", text: "SELECT p.id FROM patients p WHERE p.clinic = 17 AND EXISTS (SELECT 1 FROM encounters e WHERE e.patient_id = p.id AND e.diagnosis_code = 'E11.9')"},
	{name: "IN list", text: "SELECT id, status FROM patients WHERE id IN (11, 222, 3333, 44444, 55555, 66666, 77777, 88888, 99999, 100001, 200002, 300003)"},
	{name: "LEFT JOIN and aggregate", text: "SELECT p.id, count(e.id) AS n, sum(e.cost) AS cost FROM patients p LEFT JOIN encounters e ON e.patient_id = p.id WHERE p.clinic = 17 GROUP BY p.id"},
	{name: "DISTINCT", text: "SELECT DISTINCT clinic, status FROM patients WHERE clinic < 50"},
	{name: "UNION", text: "SELECT id FROM patients WHERE clinic = 17 UNION SELECT patient_id FROM encounters WHERE diagnosis_code = 'R99.7'"},
	{name: "chain of common tables", text: `WITH ours AS (SELECT id, status FROM patients WHERE clinic = 17),
		stays AS (SELECT o.status, e.cost FROM ours o JOIN encounters e ON e.patient_id = o.id)
		SELECT status, count(*) AS n, avg(cost) AS mean FROM stays GROUP BY status`},
	{name: "LIKE on an unprotected text", text: "SELECT id, patient_id FROM encounters WHERE diagnosis_code LIKE 'R99%'"},
	{name: "10,000 rows with masked columns", text: "SELECT id, first_name, last_name, ssn, dob, zip FROM patients WHERE status = 'rare'", masks: true},
	{name: "series by month", text: "SELECT date_trunc('month', created_at) AS month, count(*) AS n FROM patients GROUP BY 1 ORDER BY 1",
		mysql: "SELECT date_format(created_at, '%Y-%m') AS month, count(*) AS n FROM patients GROUP BY 1 ORDER BY 1"},
}

func (s shape) in(engine string) string {
	if engine == "mysql" && s.mysql != "" {
		return s.mysql
	}
	return s.text
}
