-- plain outputs, names and positions
SELECT * FROM g WHERE id < 20
SELECT g.* FROM g WHERE g.id < 20 ORDER BY id
SELECT tok FROM g WHERE id < 20
SELECT tok, tok FROM g WHERE id < 20 ORDER BY id
SELECT tok AS id, id AS tok FROM g WHERE id < 20 ORDER BY tok
SELECT tok AS id, id AS x FROM g WHERE id < 20 ORDER BY id
SELECT tok AS id, id AS x FROM g WHERE id < 20 ORDER BY g.id
SELECT tok FROM g WHERE id < 20 ORDER BY 1
SELECT tok FROM g WHERE id < 20 ORDER BY tok
SELECT tok FROM g WHERE id < 20 ORDER BY g.tok
SELECT tok AS a FROM g WHERE id < 20 ORDER BY a DESC
SELECT tok AS a FROM g WHERE id < 20 ORDER BY a COLLATE "C"
SELECT tok AS a, tok AS b FROM g WHERE id < 20 ORDER BY a, b
SELECT tok AS a, id AS a FROM g WHERE id < 20 ORDER BY a
SELECT tokn AS a FROM g WHERE id < 20 ORDER BY -tokn
SELECT tokn FROM g WHERE id < 20 ORDER BY 1 DESC NULLS LAST, id
SELECT id, tok FROM g WHERE id < 20 ORDER BY tok LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY id, tok LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY person, tok LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY person, 2 LIMIT 3
SELECT person, tok FROM g WHERE id < 20 ORDER BY person, 2 OFFSET 3
SELECT tok FROM g WHERE id < 20 ORDER BY tok FETCH FIRST 1 ROW WITH TIES
SELECT tok FROM g WHERE id < 20 ORDER BY id FETCH FIRST 3 ROW WITH TIES
SELECT grp, tok FROM g WHERE id < 20 ORDER BY grp FETCH FIRST 3 ROW WITH TIES
SELECT DISTINCT tok FROM g WHERE id < 20
SELECT DISTINCT id, tok FROM g WHERE id < 20
SELECT DISTINCT id, tok FROM g WHERE id < 20 ORDER BY tok
SELECT DISTINCT ON (id) id, tok FROM g WHERE id < 20 ORDER BY id, tok
SELECT DISTINCT ON (grp) grp, tok FROM g WHERE id < 20 ORDER BY grp, tok
SELECT DISTINCT ON (grp) grp, tok FROM g WHERE id < 20 ORDER BY grp, id
SELECT DISTINCT ON (tok) tok FROM g WHERE id < 20
SELECT DISTINCT ON (1) tok FROM g WHERE id < 20
SELECT DISTINCT ON (a) tok AS a FROM g WHERE id < 20
SELECT DISTINCT ON (id) id, tokn AS a FROM g WHERE id < 20 ORDER BY id, a
SELECT id, tok FROM g WHERE id < 20 GROUP BY id
SELECT id, tok FROM g WHERE id < 20 GROUP BY 1, 2
SELECT id, tok FROM g WHERE id < 20 GROUP BY id, tok ORDER BY 2
SELECT tok, count(*) FROM g GROUP BY 1
SELECT tok, count(*) FROM g GROUP BY tok
SELECT tok AS grp, count(*) FROM g GROUP BY grp
SELECT grp AS tok, count(*) FROM g GROUP BY tok
SELECT grp, max(tok) FROM g GROUP BY grp ORDER BY 2
SELECT grp, count(DISTINCT tok) FROM g GROUP BY grp
SELECT tok FROM g WHERE id < 20 UNION SELECT label FROM o WHERE id < 20
SELECT tok FROM g WHERE id < 20 UNION ALL SELECT tok FROM g WHERE id < 20
(SELECT tok FROM g WHERE id < 20 ORDER BY id) UNION ALL (SELECT tok FROM h WHERE id < 20)
SELECT tok FROM g WHERE id < 20 EXCEPT SELECT tok FROM o WHERE id < 20
SELECT id, tok FROM g WHERE id < 20 INTERSECT SELECT g_id, tok FROM h
(SELECT id, tok FROM g WHERE id < 20)
((SELECT id, tok FROM g WHERE id < 20 ORDER BY tok))
(SELECT id, tok FROM g WHERE id < 20) ORDER BY tok
(SELECT id, tok FROM g WHERE id < 20 ORDER BY id LIMIT 5) ORDER BY tok LIMIT 2
TABLE g
VALUES ((SELECT tok FROM g WHERE id = 1))
-- windows
SELECT id, tok, row_number() OVER (ORDER BY tok) FROM g WHERE id < 20
SELECT id, tok, rank() OVER (PARTITION BY tok ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, lag(tok) OVER (ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, first_value(tok) OVER w FROM g WHERE id < 20 WINDOW w AS (ORDER BY id)
SELECT id, tok, count(*) OVER (ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, dense_rank() OVER (ORDER BY id) AS tok2 FROM g WHERE id < 20 ORDER BY tok2, tok
-- expressions
SELECT tok || '' FROM g WHERE id < 20
SELECT (tok) FROM g WHERE id < 20
SELECT tok::text FROM g WHERE id < 20
SELECT tokn + 0 FROM g WHERE id < 20
SELECT CASE WHEN tok > 'm' THEN 1 END FROM g WHERE id < 20
SELECT coalesce(tok, 'x'), nullif(tok, 'x'), greatest(tok, 'a') FROM g WHERE id < 20
SELECT ARRAY[tok], ROW(tok, id) FROM g WHERE id < 20
SELECT json_build_object('a', tok), to_json(tok), row_to_json(g) FROM g WHERE id < 20
SELECT tok, row_to_json(g) FROM g WHERE id < 20
SELECT tok, g FROM g WHERE id < 20
SELECT tok, (g).tok FROM g WHERE id < 20
SELECT (g).tok, (g).tokn, (g).* FROM g WHERE id < 20
SELECT (x).tok FROM (SELECT g AS x FROM g WHERE id < 20) y
SELECT (y.x).tok FROM (SELECT g AS x FROM g WHERE id < 20) y
SELECT tok, count(g) OVER () FROM g WHERE id < 20
SELECT tok, g IS NULL, g IS NOT NULL FROM g WHERE id < 20
SELECT tok, g = g FROM g WHERE id < 20
SELECT json_agg(tok ORDER BY id), string_agg(tok, ','), array_agg(tok), jsonb_object_agg(id, tok) FROM g
SELECT max(tok), min(tokn), sum(tokn), avg(tokn), count(tok) FROM g
SELECT array_agg(g ORDER BY id) FROM g
SELECT xmlforest(tok) FROM g WHERE id < 20
SELECT xmlelement(name a, xmlattributes(tok)) FROM g WHERE id < 20
SELECT format('%s', tok), concat(tok), length(tok), md5(tok) FROM g WHERE id < 20
SELECT tok IS NULL, tok IS DISTINCT FROM 'a' FROM g WHERE id < 20
SELECT unnest(ARRAY[tok]) FROM g WHERE id < 20
SELECT tok, generate_series(1, 2) FROM g WHERE id < 20
SELECT tok, generate_series(1, length(tok)) FROM g WHERE id < 20
SELECT (SELECT tok) FROM g WHERE id < 20
SELECT (SELECT g.tok FROM o WHERE o.id = g.id) FROM g WHERE id < 20
SELECT (SELECT x.tok FROM g x WHERE x.id = g.id) AS tok FROM g WHERE id < 20 ORDER BY tok
SELECT ARRAY(SELECT tok FROM g ORDER BY tok)
SELECT tok FROM g WHERE id = (SELECT min(id) FROM g WHERE tok > 'm')
SELECT tok FROM g WHERE EXISTS (SELECT 1 FROM o WHERE o.tok = g.tok)
SELECT tok FROM g WHERE tok IN (SELECT tok FROM o)
SELECT tok FROM g WHERE (id, tok) IN (SELECT id, tok FROM o)
SELECT id FROM g WHERE id < 20 ORDER BY (SELECT count(*) FROM h WHERE h.tok = g.tok)
SELECT id FROM g WHERE id < 20 ORDER BY length(tok), id
SELECT id FROM g WHERE id < 20 ORDER BY CASE WHEN tok > 'm' THEN 1 ELSE 2 END
SELECT id FROM g LIMIT (SELECT length(tok) FROM g WHERE id = 1)
SELECT id FROM g WHERE id < 20 LIMIT (SELECT max(tokn) FROM g)
SELECT 1 / tokn FROM g WHERE id < 20
SELECT CAST(tok AS int) FROM g WHERE id < 20
SELECT id FROM g WHERE id < 20 AND tok::int > 0
SELECT tok, 1 / (tokn - tokn) FROM g WHERE id < 20
SELECT tok FROM g WHERE id < 20 HAVING true
SELECT tok, max(id) FROM g
-- derived tables, CTEs
SELECT tok FROM (SELECT tok FROM g WHERE id < 20) x
SELECT x.* FROM (SELECT * FROM g WHERE id < 20) x
SELECT x.*, g.tok FROM (SELECT * FROM g WHERE id < 20) x JOIN g USING (id)
WITH x AS (SELECT tok, id FROM g WHERE id < 20) SELECT tok FROM x
WITH x(a, b) AS (SELECT tok, id FROM g WHERE id < 20) SELECT a FROM x ORDER BY a
WITH x(id, tok) AS (SELECT tok, id FROM g WHERE id < 20) SELECT id, tok FROM x ORDER BY tok
WITH g AS (SELECT id, tok FROM g WHERE id < 20) SELECT * FROM g
WITH g AS (SELECT id, tok AS grp FROM g WHERE id < 20) SELECT grp FROM g ORDER BY grp
WITH RECURSIVE r(n, t) AS (SELECT 1, tok FROM g WHERE id = 1 UNION ALL SELECT n + 1, t FROM r WHERE n < 3) SELECT * FROM r
WITH RECURSIVE r AS (SELECT id, tok FROM g WHERE id = 1 UNION SELECT g.id, g.tok FROM g JOIN r ON g.id = r.id + 1) SELECT * FROM r
WITH RECURSIVE r AS (SELECT id, tok FROM g WHERE id = 1 UNION ALL SELECT g.id, g.tok FROM g JOIN r ON g.id = r.id + 1 WHERE g.id < 5) SEARCH DEPTH FIRST BY tok SET ord SELECT * FROM r ORDER BY ord
WITH RECURSIVE r AS (SELECT id, tok FROM g WHERE id = 1 UNION ALL SELECT g.id, g.tok FROM g JOIN r ON g.id = r.id + 1 WHERE g.id < 5) CYCLE tok SET cyc USING path SELECT * FROM r
WITH x AS MATERIALIZED (SELECT g FROM g WHERE id < 20) SELECT (x.g).tok FROM x
SELECT l.tok FROM g, LATERAL (SELECT g.tok) l WHERE g.id < 20
SELECT g.tok, l.* FROM g, LATERAL (SELECT g.tok AS t, length(g.tok) AS n) l WHERE g.id < 20
SELECT g.tok, l FROM g, LATERAL (SELECT g.tok AS t) l WHERE g.id < 20
SELECT g.tok, f FROM g, LATERAL json_each(row_to_json(g)) f WHERE g.id < 20
SELECT g.tok, f FROM g, unnest(ARRAY[g.tok]) f WHERE g.id < 20
SELECT g.tok, f FROM g, ROWS FROM (unnest(ARRAY[g.tok]), generate_series(1, 2)) f WHERE g.id < 20
SELECT tok FROM g x(id, person, grp, mrn, tok) WHERE id < 20
SELECT mrn FROM g x(id, person, grp, mrn, tok) WHERE id < 20
SELECT x.* FROM g x(a, b, c, d, e) WHERE a < 20
SELECT d FROM g x(a, b, c, d, e) WHERE a < 20 ORDER BY d
SELECT tok FROM g AS x(tok) WHERE x.tok < 20 ORDER BY tok
-- joins
SELECT g.tok, h.tok FROM g JOIN h ON h.g_id = g.id WHERE g.id < 20
SELECT tok FROM g JOIN h USING (tok)
SELECT g.tok FROM g JOIN h USING (tok)
SELECT * FROM g NATURAL JOIN h
SELECT g.tok FROM g NATURAL JOIN (SELECT id FROM o WHERE id < 20) o
SELECT tok FROM g JOIN (SELECT id FROM o) o USING (id) WHERE id < 20
SELECT * FROM g JOIN (SELECT id FROM o) o USING (id) WHERE id < 20 ORDER BY tok
SELECT j.tok FROM (g JOIN (SELECT id FROM o) o USING (id)) AS j WHERE j.id < 20
SELECT j.* FROM (g JOIN (SELECT id FROM o) o USING (id)) AS j WHERE j.id < 20
SELECT j.tok FROM (g JOIN (SELECT id FROM o) o USING (id)) AS j(a, b, c, tok) WHERE a < 20 ORDER BY tok
SELECT j, j.tok FROM (g JOIN (SELECT id FROM o) o USING (id)) AS j WHERE j.id < 20
SELECT row_to_json(j) FROM (g JOIN (SELECT id FROM o) o USING (id)) AS j WHERE j.id < 20
SELECT g.tok, u.id FROM g JOIN o USING (id) AS u WHERE g.id < 20
SELECT g.tok, u FROM g JOIN o USING (id) AS u WHERE g.id < 20
SELECT u.tok FROM g JOIN h USING (id, tok) AS u WHERE g.id < 20
SELECT g.tok, o.tok FROM g FULL JOIN o ON o.tok = g.tok
SELECT g.tok, o.tok FROM g LEFT JOIN o ON o.id = g.id AND o.tok > g.tok WHERE g.id < 20
SELECT g.tok, o.tok FROM g LEFT JOIN o ON o.id = g.id WHERE g.id < 20 ORDER BY g.tok || o.tok
SELECT public.g.tok FROM g WHERE id < 20 ORDER BY public.g.tok
SELECT public.g.tok FROM public.g, o WHERE g.id = o.id AND g.id < 20 ORDER BY tokn
SELECT a.tok, b.tok FROM g a, g b WHERE a.id = b.id AND a.id < 20 ORDER BY a.tok, b.tok
-- views
SELECT * FROM gv WHERE id < 20
SELECT token FROM gv WHERE id < 20 ORDER BY 1
SELECT token AS a FROM gv WHERE id < 20 ORDER BY a
SELECT seen FROM gv WHERE id < 20
SELECT gv, token FROM gv WHERE id < 20
SELECT * FROM gw WHERE id < 20 ORDER BY other
SELECT shout FROM gv WHERE id < 20
SELECT * FROM gm WHERE id < 20
SELECT * FROM rowview WHERE id < 20
SELECT (whole).tok FROM rowview WHERE id < 20
-- dates and other masks of the gateway
SELECT seen, seen_at, city, note FROM g WHERE id < 20 ORDER BY seen
SELECT seen FROM g WHERE id < 20 ORDER BY seen_at, city, note
SELECT id, seen AS d FROM g WHERE id < 20 ORDER BY d, id
SELECT seen, extract(year FROM seen), age(seen) FROM g WHERE id < 20
SELECT max(seen) FROM g
SELECT seen FROM g WHERE seen > '2020-06-01'
SELECT seen FROM g WHERE id < 20 AND seen IS NOT NULL
SELECT DISTINCT seen FROM g WHERE id < 20
SELECT city, note FROM g WHERE note LIKE '%a%'
SELECT a.seen, b.seen_at, a.seen FROM g a JOIN g b USING (id) WHERE a.id < 20 ORDER BY 1, 2
SELECT x.seen FROM g x(id, person, grp, tok, tokn, city, seen) WHERE id < 20
SELECT x.person FROM g x(id, seen, grp, tok, tokn, city, person) WHERE id < 20
SELECT seen || '|' || person FROM g WHERE id < 20
-- rows as values
SELECT was FROM past WHERE id < 20
SELECT (was).tok, (was).seen FROM past WHERE id < 20
SELECT several FROM past WHERE id < 20
SELECT (several[1]).tok FROM past WHERE id < 20
SELECT u.tok FROM past, unnest(several) u WHERE past.id < 20
SELECT id FROM past WHERE id < 20 ORDER BY was
SELECT row_to_json(past) FROM past WHERE id < 20
SELECT * FROM nested WHERE id < 20
SELECT w FROM nested WHERE id < 20
SELECT ((w).row).tok FROM nested WHERE id < 20
SELECT ws FROM nested WHERE id < 20
SELECT d FROM nested WHERE id < 20
SELECT (d).tok FROM nested WHERE id < 20
SELECT ds FROM nested WHERE id < 20
SELECT to_json(nested) FROM nested WHERE id < 20
-- (value).name that calls a function, one of which runs the text that it is given
SELECT ('SELECT to_tsvector(ssn) FROM public.g'::text).ts_stat
SELECT (concat('SELECT to_tsvector(ssn) FROM public.', 'g')).ts_stat
SELECT (s.s).ts_stat FROM (SELECT 'SELECT to_tsvector(ssn) FROM public.g'::text AS s) s
SELECT (s.s[1]).ts_stat FROM (SELECT ARRAY['SELECT to_tsvector(ssn) FROM public.g'] AS s) s
SELECT ('public.lengthy'::text).pg_relation_size
SELECT (id).count, (ssn).max FROM g
SELECT (id).int4, (tok).upper, (x).date FROM g, (SELECT '2020-01-01'::text AS x) y WHERE id < 4
SELECT (json_each(to_json(g))).value FROM g WHERE id < 4
-- whole rows and columns of one name
SELECT g.tok FROM (SELECT '(1' AS g) x, g JOIN o ON o.id = g.id AND g > '(1,2,w1,8'
SELECT tok, (SELECT tok::text FROM (SELECT 1 AS x) AS tok) FROM g WHERE id < 5
-- columns of views that tell of a comparison: ranks over a named window, what an outer join found, EXISTS
SELECT * FROM ranked WHERE id < 30 ORDER BY id
SELECT * FROM ranked2 WHERE id < 30 ORDER BY id
SELECT * FROM outer1 WHERE id < 30 ORDER BY id
SELECT * FROM outer2 WHERE id < 30 ORDER BY id
SELECT * FROM outer3 WHERE id < 30 ORDER BY id
SELECT * FROM outer4 WHERE id < 30 ORDER BY id
SELECT * FROM outer5 WHERE id < 30 ORDER BY id
SELECT * FROM outer6 WHERE id < 30 ORDER BY id
SELECT * FROM lateral1 WHERE id < 30 ORDER BY id
SELECT * FROM outer7 WHERE id < 30 ORDER BY id
SELECT * FROM outer8 WHERE id < 30 ORDER BY id
SELECT * FROM inner1 WHERE id < 30 ORDER BY id
SELECT * FROM inner2 WHERE id < 30 ORDER BY id
SELECT * FROM filt ORDER BY grp LIMIT 9
SELECT o.id FROM o JOIN ranked USING (id) WHERE ranked.n < 5 ORDER BY o.id
SELECT o.id, outer2.one IS NULL FROM o JOIN outer2 USING (id) WHERE o.id < 30 ORDER BY o.id
SELECT * FROM lengths WHERE id < 30 ORDER BY id
-- views that compute with protected columns, and on views
SELECT * FROM vunion ORDER BY id, k LIMIT 40
SELECT * FROM vexpr WHERE id < 5
SELECT x FROM vexpr x WHERE id < 5
SELECT * FROM vof WHERE id < 5
SELECT * FROM vwin WHERE id < 5
SELECT * FROM vagg ORDER BY grp
-- names by quotes and escapes
SELECT "Ssn" FROM "Mixed" WHERE id < 3
SELECT * FROM "Mixed" WHERE id < 3
SELECT "größe", "ssn ", "s""n" FROM "Mixed" WHERE id < 3
SELECT Ssn FROM "Mixed"
SELECT U&"\0073\0073\006E" FROM g WHERE id < 3
SELECT U&"s!0073n" UESCAPE '!' FROM g WHERE id < 3
SELECT $q$a$q$ || ssn, E'\x41' || ssn FROM g WHERE id < 3
SELECT id FROM g WHERE ssn OPERATOR(pg_catalog.=) 'a'
SELECT id FROM g ORDER BY ssn USING OPERATOR(pg_catalog.<) LIMIT 3
SELECT /* /* nested */ ssn */ id FROM g WHERE id < 3
-- what runs text, reads files, catalogs or rows as they lie
SELECT table_to_xml('g', true, true, '')
SELECT query_to_xml('SELECT ssn FROM g', true, true, '')
SELECT database_to_xml(true, true, '')
SELECT lo_from_bytea(0, ssn::bytea) FROM g WHERE id < 3
SELECT dblink('dbname=x', 'SELECT 1')
SELECT * FROM pg_stats WHERE tablename = 'g'
SELECT * FROM pg_statistic_ext_data
SELECT * FROM pg_stat_user_tables
SELECT a FROM pg_attribute a LIMIT 1
SELECT ctid FROM g WHERE id < 3
SELECT (SELECT ctid FROM h WHERE h.id = o.id) FROM o WHERE id < 3
SELECT xmlparse(DOCUMENT '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>')
SELECT 0x1F, 1_000
-- errors, frames, names of WITH
SELECT ssn::date FROM g WHERE id < 3
SELECT ssn::json FROM g WHERE id < 3
SELECT ssn::inet FROM g WHERE id < 3
SELECT to_number(ssn, '999') FROM g WHERE id < 3
SELECT substr('abc', 1, -length(ssn)) FROM g WHERE id < 3
SELECT 2147483647 + length(ssn) FROM g WHERE id < 3
SELECT id, sum(tokn) OVER (ORDER BY id RANGE BETWEEN tokn PRECEDING AND CURRENT ROW) FROM g WHERE id < 5
SELECT id, count(*) OVER (ORDER BY tokn RANGE BETWEEN 100 PRECEDING AND CURRENT ROW) FROM g WHERE id < 5
SELECT id, row_number() OVER w FROM g WHERE id < 9 WINDOW w AS (ORDER BY tok)
SELECT mode() WITHIN GROUP (ORDER BY ssn), percentile_disc(0.5) WITHIN GROUP (ORDER BY tokn), rank('m') WITHIN GROUP (ORDER BY tok) FROM g
SELECT grp FROM g GROUP BY ROLLUP (grp, tok)
SELECT id AS g FROM g WHERE id < 9 ORDER BY g
SELECT o AS g FROM o, g WHERE o.id = g.id AND o.id < 9 ORDER BY g
SELECT g AS o, tok FROM o, g WHERE o.id = g.id AND o.id < 9
WITH RECURSIVE x AS (SELECT tok, id FROM g), g AS (SELECT 1 AS id, 'a' AS tok) SELECT * FROM x WHERE id < 5
WITH RECURSIVE a AS (SELECT label FROM o), o AS (SELECT id, ssn AS label FROM g WHERE id < 5) SELECT * FROM a
SELECT json_populate_record(g, '{"id": 5}') FROM g WHERE id < 3
-- look-ups
SELECT id, grp FROM g WHERE mrn = '{mrn 7}'
SELECT id, mrn FROM g WHERE mrn = '{mrn 7}'
SELECT id, tok, mrn FROM g WHERE mrn = '{mrn 7}' ORDER BY mrn
SELECT id FROM g WHERE mrn = '{mrn 7}' OR id = 3
SELECT id FROM g WHERE NOT (mrn = '{mrn 7}')
SELECT id FROM g WHERE (mrn = '{mrn 7}') IS TRUE
SELECT id FROM g WHERE mrn = '{mrn 7}' AND mrn > 'M'
SELECT id FROM g WHERE mrn = '{mrn 7}' AND mrn = '{mrn 8}'
SELECT id FROM g WHERE mrn = '{mrn 7}' AND ssn > '5'
SELECT id FROM g WHERE mrn = '{mrn 7}' AND id IN (SELECT g_id FROM h WHERE mrn = '{mrn 7}')
SELECT id FROM g WHERE id IN (SELECT g_id FROM h WHERE mrn = '{mrn 7}') OR id = 2
SELECT g.id, h.id FROM g LEFT JOIN h ON h.mrn = '{mrn 7}' AND h.g_id = g.id WHERE g.id < 20
SELECT g.id, h.id FROM g FULL JOIN h ON h.mrn = '{mrn 7}' AND h.g_id = g.id WHERE g.id < 20
SELECT g.id, h.mrn FROM g LEFT JOIN h ON h.mrn = '{mrn 7}' WHERE g.id < 20
SELECT g.id, h.mrn, h.tok FROM g LEFT JOIN h ON h.mrn = '{mrn 7}' WHERE g.id < 20 ORDER BY h.tok
SELECT count(*) FROM g WHERE mrn = '{mrn 7}'
SELECT count(mrn), max(mrn), min(ssn) FROM g WHERE mrn = '{mrn 7}'
SELECT mrn, count(*) FROM g WHERE mrn = '{mrn 7}' GROUP BY mrn
SELECT EXISTS (SELECT 1 FROM g WHERE mrn = '{mrn 7}')
SELECT o.id FROM o WHERE EXISTS (SELECT 1 FROM g WHERE mrn = '{mrn 7}' AND g.id = o.id)
SELECT o.id FROM o WHERE EXISTS (SELECT 1 FROM g WHERE g.mrn = o.tok)
SELECT CASE WHEN mrn = '{mrn 7}' THEN id END FROM g WHERE id < 20
SELECT id FROM g WHERE CASE WHEN id > 5 THEN mrn = '{mrn 7}' ELSE false END
SELECT mrn = '{mrn 7}' FROM g WHERE id < 20
SELECT id FROM g WHERE mrn IN ('{mrn 7}', '{mrn 8}')
SELECT id FROM g WHERE mrn = ANY (ARRAY['{mrn 7}'])
SELECT id FROM g WHERE (mrn, id) = ('{mrn 7}', 7)
SELECT id FROM g WHERE ROW(mrn) = ROW('{mrn 7}')
SELECT id FROM g WHERE mrn = '{mrn 7}'::bpchar
SELECT id FROM g WHERE mrn = '{mrn 7}'::text COLLATE "C"
SELECT id FROM g WHERE mrn::text = '{mrn 7}'
SELECT id FROM g WHERE mrn LIKE '{mrn 7}'
SELECT id FROM g WHERE mrn OPERATOR(pg_catalog.=) '{mrn 7}'
SELECT id FROM g WHERE '{mrn 7}' = mrn
SELECT id FROM g WHERE mrn = NULL
SELECT id FROM g WHERE mrn = 5
SELECT id FROM g WHERE mrn = true
SELECT id FROM g WHERE tok = 'x'
SELECT row_to_json(g) FROM g WHERE mrn = '{mrn 7}'
SELECT g FROM g WHERE mrn = '{mrn 7}'
SELECT j FROM (g JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id) AS j
SELECT j.mrn FROM (g JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id) AS j
SELECT j.* FROM (g JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id) AS j(a, b, c, d, e, f, h)
SELECT j.a, j.k, j.l, j.m FROM (g JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id) AS j(a, b, c, d, e, f, h, i, x, k, l, m, n, p, q)
SELECT x FROM (SELECT * FROM g WHERE mrn = '{mrn 7}') x
SELECT * FROM (SELECT * FROM g WHERE mrn = '{mrn 7}') x NATURAL JOIN o
SELECT * FROM g NATURAL JOIN (SELECT id FROM h WHERE mrn = '{mrn 7}') h WHERE g.mrn = '{mrn 7}'
WITH x AS (SELECT * FROM g WHERE mrn = '{mrn 7}') SELECT x.*, to_json(x) FROM x
WITH x AS (SELECT id, mrn FROM g WHERE mrn = '{mrn 7}' LIMIT 1) SELECT g.tok FROM g JOIN x USING (id)
WITH RECURSIVE r AS (SELECT id, mrn FROM g WHERE mrn = '{mrn 7}' UNION ALL SELECT g.id, g.mrn FROM g, r WHERE g.id = r.id + 1 AND g.id < 12) SELECT * FROM r LIMIT 5
SELECT token, mrn FROM gv WHERE mrn = '{mrn 7}'
SELECT shout FROM gv WHERE mrn = '{mrn 7}'
SELECT a.id, b.id FROM g a JOIN g b ON b.mrn = '{mrn 7}' AND a.tok = b.tok
SELECT a.id, b.id FROM g a JOIN g b ON a.mrn = b.mrn WHERE b.mrn = '{mrn 7}'
SELECT a.id, b.id FROM g a JOIN h b USING (mrn) WHERE a.mrn = '{mrn 7}'
SELECT mrn FROM g a JOIN h b USING (mrn) WHERE mrn = '{mrn 7}'
SELECT a.id FROM g a, LATERAL (SELECT 1 WHERE a.mrn = '{mrn 7}') x
SELECT id, row_number() OVER (ORDER BY mrn) FROM g WHERE mrn = '{mrn 7}'
SELECT (was).tok FROM past WHERE (was).mrn = '{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' ORDER BY ssn LIMIT 1
SELECT 1 / (tokn - tokn) FROM g WHERE mrn = '{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' FOR UPDATE
-- writes, each of which a person would have approved
INSERT INTO o (id, tok) SELECT 100 + id, tok FROM g
INSERT INTO o (id, tok) SELECT 100 + id, concat(tok) FROM g
INSERT INTO o (id, tok) SELECT 200 + id, to_json(g)::text FROM g
INSERT INTO o (id, tok) SELECT 300 + x.id, x.t FROM (SELECT id, tok AS t FROM g) x
INSERT INTO o (id, n) SELECT 400 + id, length(tok) FROM g
INSERT INTO o (id, n) SELECT 500 + id, CASE WHEN tok IS NULL THEN 1 ELSE 2 END FROM g
INSERT INTO o (id, n) SELECT 600 + row_number() OVER (ORDER BY tok), id FROM g
INSERT INTO o (id, n) SELECT 700 + id, 1 FROM g ORDER BY tok LIMIT 3
INSERT INTO o (id, n) SELECT 800 + id, 1 FROM g WHERE tok > 'm'
INSERT INTO o (id, n) SELECT 900 + id, 1 FROM g WHERE mrn = '{mrn 7}'
INSERT INTO o (id, tok) VALUES (1001, (SELECT tok FROM g WHERE id = 1))
INSERT INTO o (id, tok) VALUES (1002, (SELECT tok::text FROM g WHERE id = 1) || '')
INSERT INTO o (id, tok) VALUES (1003, (SELECT string_agg(tok, ',') FROM g)) RETURNING *
INSERT INTO o (id, n) VALUES (1004, (SELECT count(*) FROM g WHERE tok IS NOT NULL)) RETURNING id, n, (SELECT tok FROM g WHERE id = 2)
INSERT INTO o (id, tok) SELECT 1100 + id, tok FROM gv
INSERT INTO o (id, tok) SELECT 1200 + id, (was).tok FROM past
INSERT INTO o (id, tok) SELECT 1300 + id, ((w).row).tok FROM nested
INSERT INTO o SELECT id + 1400, tokn, city, note FROM g
INSERT INTO o (id, n) TABLE g
WITH x AS (SELECT id, tok FROM g) INSERT INTO o (id, tok) SELECT id + 1500, tok FROM x
WITH x AS (UPDATE g SET grp = grp WHERE id < 5 RETURNING id, tok, ssn) SELECT * FROM x
WITH x AS (UPDATE g SET grp = grp WHERE id < 5 RETURNING id, tok, ssn) INSERT INTO o (id, tok) SELECT id + 1600, tok FROM x
WITH x AS (UPDATE g SET grp = grp WHERE id < 5 RETURNING g.*) SELECT to_json(x) FROM x
UPDATE g SET grp = tok WHERE id < 5
UPDATE g SET grp = tok || '' WHERE id < 5
UPDATE g SET grp = (SELECT g.tok) WHERE id < 5
UPDATE g SET grp = (SELECT max(x) FROM (SELECT g.tok AS x) y) WHERE id < 5
UPDATE g SET grp = (SELECT max(l.x) FROM o, LATERAL (SELECT g.tok AS x) l) WHERE id < 5
UPDATE g SET grp = to_json(g)::text WHERE id < 5
UPDATE g SET grp = (SELECT to_json(g)::text) WHERE id < 5
UPDATE g SET (grp, person) = (SELECT g.tok, 1) WHERE id < 5
UPDATE g SET (grp, person) = ROW(tok, 1) WHERE id < 5
UPDATE g SET grp = x.tok FROM g x WHERE x.id = g.id
UPDATE g SET grp = x.t FROM (SELECT id, tok::text AS t FROM g) x WHERE x.id = g.id
UPDATE g SET grp = 'u' || (SELECT count(*) FROM o WHERE o.tok > g.tok) WHERE id < 5 RETURNING id, grp, tok
UPDATE g SET grp = grp WHERE id < 5 RETURNING *
UPDATE g SET grp = grp WHERE id < 5 RETURNING id, tok, upper(tok), tok IS NULL, length(ssn), CASE WHEN ssn > '5' THEN 1 END
UPDATE g SET grp = grp WHERE id < 5 RETURNING (SELECT g.ssn), (SELECT max(o.id) FROM o WHERE o.tok > g.ssn)
UPDATE g SET grp = grp WHERE id < 5 RETURNING g
UPDATE g SET grp = grp WHERE id < 5 RETURNING (g).tok, to_json(g)
UPDATE g SET grp = grp WHERE id < 5 RETURNING seen, city, note, mrn, tokn
UPDATE g SET grp = grp FROM o WHERE o.id = g.id AND g.id < 5 RETURNING *
UPDATE g SET grp = grp FROM h WHERE h.g_id = g.id AND g.id < 9 RETURNING h.tok, g.tok, h
UPDATE g x SET grp = grp FROM g WHERE g.id = x.id AND g.id < 5 RETURNING x.tok, g.tok
UPDATE o SET n = n + 1 FROM g WHERE g.id = o.id AND g.tok > o.tok
UPDATE o SET n = n + 1 WHERE o.id IN (SELECT id FROM g ORDER BY tok LIMIT 3)
UPDATE o SET n = n + 1 WHERE o.id IN (SELECT id FROM g WHERE mrn = '{mrn 7}') RETURNING id
UPDATE g SET grp = 'z' WHERE mrn = '{mrn 7}' RETURNING id, mrn, grp
UPDATE g SET grp = 'z' WHERE mrn = '{mrn 7}' AND ssn > '5' RETURNING id
UPDATE g SET grp = 'z' WHERE tok > 'm'
UPDATE g SET grp = 'z' WHERE upper(tok) > 'M'
UPDATE g SET grp = 'z' WHERE length(tok) > 6
UPDATE g SET grp = 'z' WHERE (tok || 'a') = 'b'
UPDATE g SET grp = 'y' WHERE ssn IS NULL
UPDATE g SET grp = 'y' WHERE EXISTS (SELECT 1 FROM o WHERE o.tok > g.ssn)
UPDATE g SET grp = 'y' WHERE EXISTS (SELECT 1 FROM o ORDER BY g.ssn)
UPDATE g SET grp = 'y' WHERE id IN (SELECT o.id FROM o GROUP BY o.id, g.ssn HAVING length(max(g.ssn)) > 3) AND id < 4
UPDATE g SET grp = (SELECT string_agg(o.label, ',' ORDER BY g.ssn, o.id) FROM o) WHERE id < 4
UPDATE g SET grp = (SELECT o.label FROM o ORDER BY length(g.ssn) * o.id LIMIT 1) WHERE id < 4
UPDATE g SET grp = (SELECT o.label FROM o ORDER BY o.id OFFSET length(g.ssn) LIMIT 1) WHERE id < 4
UPDATE g SET person = 1 / (length(ssn) - length(ssn)) WHERE id = 1
UPDATE g SET person = ssn::int WHERE id = 1
UPDATE g SET grp = grp WHERE id = 1 AND ssn::int > 0
UPDATE g SET ssn = tok WHERE id < 5
UPDATE g SET ssn = 'abc', tok = 'abc' WHERE id = 5 RETURNING ssn, tok
UPDATE g SET mrn = 'same' WHERE id < 4
UPDATE g SET id = 5 WHERE id = 4
UPDATE g SET grp = DEFAULT WHERE id = 4
UPDATE gv SET person = 3 WHERE id = 4 RETURNING *
UPDATE gv SET token = 'abc' WHERE id = 4 RETURNING token, shout
UPDATE gv SET person = length(shout) WHERE id = 4
UPDATE gen SET tok = 'abc' RETURNING up
DELETE FROM o USING g WHERE g.id = o.id AND g.tok = o.tok
DELETE FROM o USING g WHERE g.id = o.id AND g.id = 22 RETURNING g.tok, o.*, g.*
DELETE FROM h WHERE h.id = 23 RETURNING h.*, upper(h.tok)
DELETE FROM h WHERE tok IN (SELECT tok FROM o)
DELETE FROM h WHERE h.mrn = '{mrn 22}' RETURNING h.id, h.tok
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = g.tok
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = g.ssn || 'x'
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = excluded.ssn
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = excluded::text RETURNING *
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = 'q' WHERE g.ssn > 'a' RETURNING id
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = 'q' WHERE length(g.ssn) > 6 RETURNING id
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn, tok = excluded.ssn RETURNING id
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET (grp, person) = (SELECT g.tok, 2) RETURNING id
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT DO NOTHING RETURNING id
INSERT INTO g AS x (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON CONFLICT (id) DO UPDATE SET grp = 'q' RETURNING x.tok, x.ssn, x.mrn, x.city
MERGE INTO o USING g ON o.id = g.id WHEN MATCHED THEN UPDATE SET tok = g.tok
MERGE INTO o USING g ON o.tok = g.tok WHEN MATCHED THEN DELETE
MERGE INTO o USING g ON o.id = g.id WHEN MATCHED AND g.tok > 'm' THEN UPDATE SET n = 99
MERGE INTO o USING g ON o.id = g.id WHEN MATCHED AND length(g.tok) > 6 THEN UPDATE SET n = 99
MERGE INTO g USING o ON o.id = g.id AND o.id < 5 WHEN MATCHED THEN UPDATE SET grp = g.tok
MERGE INTO g USING o ON o.id = g.id AND o.id < 5 WHEN MATCHED AND length(g.ssn) > 6 THEN UPDATE SET grp = 'm' WHEN NOT MATCHED THEN DO NOTHING
MERGE INTO g USING o ON o.id = g.id AND o.id < 5 WHEN MATCHED AND g.mrn = '{mrn 3}' THEN UPDATE SET grp = 'm3'
MERGE INTO g USING o ON o.id = g.id AND o.tok > g.ssn WHEN MATCHED THEN UPDATE SET grp = 'm4'
MERGE INTO g USING (SELECT id, label FROM o) x ON x.id = g.id AND x.id < 5 WHEN MATCHED THEN UPDATE SET grp = (SELECT g.ssn)
-- how many pieces the long values of a table are kept in
SELECT t.reltuples FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.relname = 'lengthy'
-- rows do not come in the order of an index that begins with a protected column, whichever view they are read through
SELECT id FROM wide LIMIT 20
SELECT id FROM widev LIMIT 20
SELECT id FROM widen LIMIT 20
SELECT id FROM widenn LIMIT 20
SELECT array_agg(id) FROM (SELECT id FROM widenn LIMIT 20) AS x
SELECT id FROM within LIMIT 20
SELECT id FROM upper LIMIT 20
-- names that the server finds further outside than one would think
UPDATE g SET grp = 'a' WHERE id < 5 RETURNING (SELECT ssn::text FROM o AS ssn LIMIT 1)
UPDATE g SET grp = (SELECT ssn::text FROM o AS ssn LIMIT 1) WHERE id < 5
UPDATE g SET grp = 'a' WHERE id < 9 AND EXISTS (SELECT 1 FROM o AS ssn WHERE ssn::text > '8')
UPDATE g SET grp = (SELECT max(a.label) FROM (SELECT 'a' AS ssn) x, o a JOIN o b ON ssn > b.tok) WHERE id < 9
UPDATE g SET grp = (SELECT ssn::text FROM unnest((SELECT array_agg(o) FROM o)) AS ssn LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT ssn FROM (SELECT (ssn).text FROM (SELECT 1 AS ssn) y) z) WHERE id < 5
UPDATE g SET grp = (SELECT ssn FROM (SELECT 1 IN (SELECT id AS ssn FROM o)) z) WHERE id < 5
UPDATE g SET grp = (SELECT o.label AS ssn FROM o ORDER BY row_number() OVER (ORDER BY ssn) LIMIT 1) WHERE id < 5
DELETE FROM h WHERE id = 24 RETURNING (SELECT mrn::text FROM o AS mrn LIMIT 1)
MERGE INTO g USING o ON o.id = g.id AND o.id < 5 WHEN MATCHED THEN UPDATE SET grp = (SELECT ssn::text FROM (SELECT 1 AS x) AS ssn)
WITH x AS (SELECT ssn FROM (SELECT 1 AS ssn) y) UPDATE g SET grp = (SELECT ssn::text FROM x) WHERE id < 5
UPDATE g SET grp = (SELECT max(x.label) FROM o x JOIN (o y JOIN o z ON z.id = y.id AND ssn > '8') ON x.id = y.id) WHERE id < 9
UPDATE g SET grp = (SELECT label FROM o GROUP BY label, ssn HAVING ssn > '8' ORDER BY label LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT DISTINCT ON (ssn) label AS ssn FROM o LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT ssn FROM (VALUES ('a')) ssn) WHERE id < 5
UPDATE g SET grp = (SELECT ssn FROM json_each_text('{"a": "b"}') AS ssn LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT tok::text FROM xmltable('/a' PASSING xmlparse(DOCUMENT '<a/>') COLUMNS tok text PATH '.') AS x LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT ssn FROM (SELECT current_date) AS ssn) WHERE id < 5
UPDATE g SET grp = (WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SEARCH DEPTH FIRST BY n SET ssn SELECT ssn::text FROM r LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT u.ssn::text FROM o a JOIN (SELECT 1 AS id) b USING (id) AS ssn, LATERAL (SELECT ssn.id AS ssn) u LIMIT 1) WHERE id < 5
UPDATE g SET grp = x.label FROM (SELECT id, label FROM o) x JOIN o y ON x.id = y.id AND ssn > '8' WHERE x.id = g.id
DELETE FROM h USING o AS mrn WHERE mrn.id = h.id AND h.id = 24 AND mrn::text > 'M5'
MERGE INTO g USING (SELECT 77 AS id) s ON s.id = g.id WHEN NOT MATCHED THEN INSERT (id, ssn, grp) VALUES (s.id, 'abc', (SELECT ssn::text FROM (SELECT 1 AS x) ssn))
INSERT INTO g (id, ssn, mrn) VALUES (8, 'abc', 'mm8') ON CONFLICT (id) DO UPDATE SET grp = 'a' RETURNING (SELECT ssn::text FROM o AS ssn LIMIT 1), (SELECT g FROM (SELECT 1) g)
WITH x AS (DELETE FROM h WHERE id = 23 RETURNING id, (SELECT tok::text FROM o AS tok LIMIT 1) AS t) SELECT x.*, x FROM x
-- names of functions in FROM, rows of views over what functions make of protected values
SELECT x1.n FROM x1 WHERE id < 20
SELECT x2.n FROM x2 WHERE id < 20
SELECT x3.a FROM x3 WHERE id < 20
SELECT f.f FROM unnest(ARRAY[1, 2]) AS f
SELECT grp, count(*) FROM g GROUP BY ROLLUP ((1), (grp, tok))
SELECT tok, count(*) FROM g GROUP BY (1, 2)
WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) CYCLE a SET c TO regclass 'g' DEFAULT regclass 'o' USING p SELECT * FROM r
SELECT o.label, public.o.n FROM o WHERE o.id IN (SELECT o.id FROM h o WHERE o.tok IS NULL) ORDER BY 1, 2
-- counts, beside groups by a person and windows
SELECT person, count(*) FROM g GROUP BY person ORDER BY 1
SELECT person, count(*), max(tok) FROM g GROUP BY 1 ORDER BY 1
SELECT g.person, count(*) FROM g JOIN h ON h.g_id = g.id GROUP BY g.person ORDER BY 1
SELECT g.person AS who, count(h.id) FROM g LEFT JOIN h ON h.tok = 'a' GROUP BY who ORDER BY 1
SELECT g.person, sum(count(*)) OVER () FROM g GROUP BY g.person ORDER BY 1
SELECT DISTINCT grp, max(tok) OVER (PARTITION BY grp) FROM g ORDER BY 1
SELECT DISTINCT max(tokn) OVER () FROM g
SELECT n FROM (SELECT sum(CASE WHEN tok > 'm' THEN 1 ELSE 0 END) AS n FROM g) x
VALUES ((SELECT sum(CASE WHEN tok IS NULL THEN 1 END) FROM g))
SELECT sum(CASE WHEN tok IS NULL THEN 100 END), sum(2) FILTER (WHERE ssn IS NULL) FROM g
-- look-ups in other clothes
SELECT id FROM g WHERE mrn = '{mrn 3}'::varchar(80)
SELECT id FROM g WHERE mrn = '{mrn 3}'::name
SELECT g.id, EXISTS (SELECT g.*) FROM g WHERE mrn = '{mrn 3}'
SELECT row_to_json(j) FROM (g JOIN o ON g.mrn = '{mrn 3}') AS j
SELECT count(j) FROM (g JOIN o ON g.mrn = '{mrn 3}') AS j
SELECT j.* FROM (g JOIN o ON g.mrn = '{mrn 3}') AS j
SELECT g.id FROM g LEFT JOIN g q ON q.mrn = '{mrn 3}' AND q.mrn = '{mrn 4}' ORDER BY 1
