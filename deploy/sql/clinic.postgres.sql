CREATE TABLE patients (
  id int PRIMARY KEY,
  mrn text NOT NULL UNIQUE,
  first_name text NOT NULL,
  last_name text NOT NULL,
  ssn text,
  dob date,
  phone text,
  email text,
  address text,
  zip varchar(10),
  insurance_id text,
  created_at timestamptz NOT NULL
);
CREATE TABLE encounters (
  id int PRIMARY KEY,
  patient_id int NOT NULL REFERENCES patients,
  provider text NOT NULL,
  admitted_at timestamptz NOT NULL,
  discharged_at timestamptz,
  diagnosis_code text,
  notes text
);
CREATE TABLE medications (
  id int PRIMARY KEY,
  patient_id int NOT NULL REFERENCES patients,
  drug text NOT NULL,
  dose text
);
CREATE TABLE claims (
  id int PRIMARY KEY,
  patient_id int NOT NULL REFERENCES patients,
  amount numeric(12,2) NOT NULL,
  payer text NOT NULL,
  member_id text
);
CREATE INDEX ON encounters (patient_id);
CREATE INDEX ON medications (patient_id);
CREATE INDEX ON claims (patient_id);
COMMENT ON TABLE patients IS 'One row for each patient';
COMMENT ON TABLE encounters IS 'Stays and visits; notes are free text';
COMMENT ON TABLE medications IS 'Current medication';
COMMENT ON TABLE claims IS 'Claims sent to payers';
COMMENT ON COLUMN patients.mrn IS 'Medical record number, MRN-0000000';
COMMENT ON COLUMN encounters.diagnosis_code IS 'ICD-10-CM';
COMMENT ON COLUMN claims.amount IS 'US dollars';
