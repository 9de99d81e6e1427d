package mysql

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func TestMasksOnAServer(t *testing.T) {
	d := testenv.MariaDB(t)
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s:%d)/%s", d.AdminUser, d.AdminPassword, d.Host, d.Port, d.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET sql_mode = ''"); err != nil { // for the zero date
		t.Fatal(err)
	}
	m := maskWriter{profile: masking.HIPAASafeHarbor(), today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	partial := masking.Mask{Kind: masking.Partial, Last: 4}
	band := masking.Mask{Kind: masking.AgeBand, Width: 10}
	for i, test := range []struct {
		mask          masking.Mask
		typ, dataType string
		value, want   string
	}{
		{partial, "TEXT", "text", "'212-555-0143'", "********0143"},
		{partial, "VARCHAR(20)", "varchar", "'1234567'", "*******"},
		{partial, "TEXT", "text", "''", ""},
		{partial, "INT", "int", "7", "NULL"},
		{band, "DATE", "date", "'1985-07-01'", "1980-01-01"},
		{band, "DATE", "date", "'1936-12-31'", "1936-01-01"},
		{band, "DATE", "date", "'1937-01-01'", "1936-01-01"},
		{band, "DATE", "date", "'0000-00-00'", "1936-01-01"},
		{band, "DATE", "date", "'9999-12-31'", "9990-01-01"},
		{band, "DATETIME", "datetime", "'1985-07-01 10:00:00'", "1980-01-01 00:00:00"},
		{masking.Mask{Kind: masking.Age}, "INT", "int", "89", "89"},
		{masking.Mask{Kind: masking.Age}, "INT", "int", "104", "90"},
		{masking.Mask{Kind: masking.Constant, Text: "0"}, "INT", "int", "5", "0"},
		{masking.Mask{Kind: masking.Constant, Text: "hidden"}, "VARCHAR(3)", "varchar", "'abc'", "hid"},
		{masking.Mask{Kind: masking.Null}, "TEXT", "text", "'a'", "NULL"},
	} {
		c := tableColumn{name: "v", dataType: test.dataType, nullable: true}
		if test.typ == "VARCHAR(3)" {
			c.length = 3
		}
		table := fmt.Sprintf("m%d", i)
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE "+table+" (id INT, v "+test.typ+" NULL)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "INSERT INTO "+table+" VALUES (1, "+test.value+"), (2, NULL)"); err != nil {
			t.Fatal(err)
		}
		mask := m.mask(masking.Class{Name: "x", Mask: test.mask}, c)
		for id, want := range map[int]string{1: test.want, 2: "NULL"} {
			var got string
			query := fmt.Sprintf("SELECT COALESCE(CAST(%s AS CHAR), 'NULL') FROM %s WHERE id = %d", mask, table, id)
			if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s of %s (row %d) is %q, %v; want %q", test.mask.Kind, test.value, id, got, err, want)
			}
		}
	}
}
