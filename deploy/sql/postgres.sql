-- The group roles that minted users join, and the user that Vault mints with.
-- Run once for each database by an administrator; :vault_password is Vault's.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chaperone_ro') THEN CREATE ROLE chaperone_ro NOLOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chaperone_rw') THEN CREATE ROLE chaperone_rw NOLOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vault_admin') THEN CREATE ROLE vault_admin LOGIN CREATEROLE; END IF;
END $$;
GRANT chaperone_ro, chaperone_rw TO vault_admin WITH ADMIN OPTION;
GRANT pg_signal_backend TO vault_admin;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO chaperone_ro, chaperone_rw;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO chaperone_ro, chaperone_rw;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO chaperone_rw;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO chaperone_ro, chaperone_rw;
