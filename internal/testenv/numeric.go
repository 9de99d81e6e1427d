package testenv

import "github.com/jackc/pgx/v5/pgtype"

// numeric reads a decimal for COPY.
func numeric(text string) pgtype.Numeric {
	var n pgtype.Numeric
	if err := n.Scan(text); err != nil {
		panic(err) // made by clinicdata
	}
	return n
}
