CREATE TABLE patients (
  id int PRIMARY KEY,
  mrn varchar(20) NOT NULL UNIQUE COMMENT 'Medical record number, MRN-0000000',
  first_name varchar(80) NOT NULL,
  last_name varchar(80) NOT NULL,
  ssn varchar(11),
  dob date,
  phone varchar(40),
  email varchar(120),
  address varchar(200),
  zip varchar(10),
  insurance_id varchar(40),
  created_at datetime NOT NULL
) COMMENT 'One row for each patient';
CREATE TABLE encounters (
  id int PRIMARY KEY,
  patient_id int NOT NULL,
  provider varchar(80) NOT NULL,
  admitted_at datetime NOT NULL,
  discharged_at datetime,
  diagnosis_code varchar(10) COMMENT 'ICD-10-CM',
  notes text,
  KEY encounters_patient (patient_id)
) COMMENT 'Stays and visits; notes are free text';
CREATE TABLE medications (
  id int PRIMARY KEY,
  patient_id int NOT NULL,
  drug varchar(80) NOT NULL,
  dose varchar(40),
  KEY medications_patient (patient_id)
) COMMENT 'Current medication';
CREATE TABLE claims (
  id int PRIMARY KEY,
  patient_id int NOT NULL,
  amount decimal(12,2) NOT NULL COMMENT 'US dollars',
  payer varchar(80) NOT NULL,
  member_id varchar(40),
  KEY claims_patient (patient_id)
) COMMENT 'Claims sent to payers';
