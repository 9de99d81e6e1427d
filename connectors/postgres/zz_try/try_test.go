package postgres

import (
	"fmt"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/encoding/protojson"
	"strings"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	for _, s := range []string{
		`select '[redacted]'::pg_catalog.text, 'a'::text, null::"pg_catalog"."varchar"(11), 'x'::bpchar(3), null::"public"."mood", null::"pg_catalog"."int4", null::"pg_catalog"."timestamptz", 'a'::"pg_catalog"."name", null::"pg_catalog"."date"[]`,
		`select pg_catalog.lower(a), pg_catalog.count(*) filter (where x), extract(year from d), substring(a from 2 for 3), position('a' in b), a at time zone 'utc', overlay(a placing 'b' from 2), trim(both 'x' from a), a is normalized from t`,
		`select (array[1,2])[1], (a).b, (select p).x`,
		`select from t`, `table t`, `select t.* , * from t`,
		`select a similar to 'b' escape 'c', a like 'b' escape 'c', a between symmetric 1 and 2, a operator(pg_catalog.=) b, a = any(array[1]), (a,b) = (c,d), (a,b) overlaps (c,d)`,
		`select '2020-01-01'::date, interval '1 day', interval '3' year, date '2020-01-01', -1, - 1, 1e10, B'101', 99999999999, true, null`,
		`select * from t where a = $1 limit all`, `select current_date, current_user, coalesce(a,b), greatest(a,b), nullif(a,b)`,
		`select * from a left join b using (id) as j natural join c cross join lateral (select 1) x(y), rows from (generate_series(1,2), unnest(array[1])) with ordinality as r(a,b,c)`,
		`select E'a\\b', U&'\0041', $$x$$ , U&"d\0061t" from t`,
		`with recursive x(a) as materialized (select 1 union all select a+1 from x) search depth first by a set s cycle a set c using p select * from x`,
		`select count(*) over (partition by a order by b rows between 1 preceding and current row exclude ties), sum(a) over w from t window w as (order by c) for update of t nowait`,
		`select a from t group by grouping sets ((a),(b),()), cube(a,b) having count(*)>1 order by 1 nulls last, a using < fetch first 3 rows with ties`,
		`select xmlelement(name a, xmlattributes(b as c), d), xmlforest(a, b as x), xmlserialize(content a as text), xmlparse(document 'a')`,
		`select json_object('a': b), json_arrayagg(a), a is json, json_value(a,'$.x')`,
		`select not a, a is true, a is distinct from b, a collate "C", cast(a as int), a::int[], (a).b.c, a[1:2], a[:], array(select 1)`,
		`select 1 union select 2 intersect select 3 except all select 4 order by 1`,
		`select * from only t tablesample bernoulli (10) repeatable (3)`,
		`values (1,2),(3,4)`, `select * from (values (1)) v(a)`,
	} {
		tr, err := pgquery.Parse(s)
		if err != nil {
			fmt.Println("PARSE", s, err)
			continue
		}
		d, err := pgquery.Deparse(tr)
		if err != nil {
			fmt.Println("DEPARSE", s, err)
			continue
		}
		tr2, err := pgquery.Parse(d)
		if err != nil {
			fmt.Println("REPARSE", d, err)
			continue
		}
		a, _ := protojson.Marshal(tr)
		b, _ := protojson.Marshal(tr2)
		_ = a
		_ = b
		fmt.Println("OK", d)
	}
	for _, n := range []int{100, 1000, 3000, 10000, 50000} {
		for k, s := range []string{"select " + strings.Repeat("1+", n) + "1", "select " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n), "select " + strings.Repeat("not ", n) + "true", "select " + strings.Repeat("- ", n) + "a", "select 1" + strings.Repeat(" union select 1", n), "select " + strings.Repeat("(select ", n) + "1" + strings.Repeat(")", n), "select " + strings.Repeat("f(", n) + "1" + strings.Repeat(")", n)} {
			func() {
				defer func() {
					if r := recover(); r != nil {
						fmt.Println("PANIC", n, k, fmt.Sprint(r)[:min(120, len(fmt.Sprint(r)))])
					}
				}()
				st := time.Now()
				tr, err := pgquery.Parse(s)
				if err != nil {
					fmt.Println(n, k, "ERR", err.Error()[:min(100, len(err.Error()))], time.Since(st))
					return
				}
				st2 := time.Since(st)
				_, err = pgquery.Deparse(tr)
				fmt.Println(n, k, "ok", st2, time.Since(st), err)
			}()
		}
	}
	tr, err := pgquery.Parse("select 1")
	fmt.Println(tr != nil, err)
	_, err = pgquery.Parse("select 'é' frmo x x x")
	fmt.Printf("%#v\n", err)
	_, err = pgquery.Parse("select 'é")
	fmt.Printf("%#v\n", err)
	sc, _ := pgquery.Scan("select :a, a[1:b], x::int, 'é' -- c\n 'f' /* z */ U&\"d\" $1 1.5 x'1f' b'1' $q$ a $q$ :=  => a:b e'x' n'y'")
	for _, tk := range sc.Tokens {
		fmt.Print(tk.Start, "-", tk.End, " ", tk.Token, " ", tk.KeywordKind, "; ")
	}
}
func BenchmarkScan(b *testing.B) {
	for i := 0; i < b.N; i++ {
		pgquery.Scan(q)
	}
}
func BenchmarkParse(b *testing.B) {
	for i := 0; i < b.N; i++ {
		pgquery.Parse(q)
	}
}
func BenchmarkDeparse(b *testing.B) {
	tr, _ := pgquery.Parse(q)
	for i := 0; i < b.N; i++ {
		pgquery.Deparse(tr)
	}
}
func BenchmarkFp(b *testing.B) {
	for i := 0; i < b.N; i++ {
		pgquery.Fingerprint(q)
	}
}

const q = `select p.id, p.zip, date_trunc('month', e.admitted_at) as m, count(*) as n,
 avg(c.amount) as amount
from patients p
join encounters e on e.patient_id = p.id
left join claims c on c.patient_id = p.id and c.payer = 'Aetna'
where e.diagnosis_code like 'E11%' and p.dob < '1960-01-01'
  and exists (select 1 from medications m where m.patient_id = p.id and m.drug = 'metformin')
group by p.id, p.zip, date_trunc('month', e.admitted_at)
having count(*) > 3
order by n desc, p.zip
limit 100`
