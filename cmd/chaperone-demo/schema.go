package main

import deploysql "github.com/chaperone-sql/chaperone/deploy/sql"

// schema makes the demo clinic's tables.
var schema = deploysql.ClinicMariaDB
