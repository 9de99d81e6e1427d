-- The roles that minted users get, and the user that Vault mints with. Run once
-- by an administrator in the database that agents use.
CREATE ROLE IF NOT EXISTS chaperone_ro;
CREATE ROLE IF NOT EXISTS chaperone_rw;
CREATE USER IF NOT EXISTS vault_admin@'%';
GRANT ALL PRIVILEGES ON *.* TO vault_admin@'%' WITH GRANT OPTION;
GRANT chaperone_ro TO vault_admin@'%' WITH ADMIN OPTION;
GRANT chaperone_rw TO vault_admin@'%' WITH ADMIN OPTION;
