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
SELECT tok AS a FROM g WHERE id < 20 ORDER BY (a)
SELECT tok AS a FROM g WHERE id < 20 ORDER BY concat(a)
SELECT tok AS a FROM g WHERE id < 20 ORDER BY length(a), id
SELECT tok AS a FROM g WHERE id < 20 ORDER BY BINARY a
SELECT tok AS a FROM g WHERE id < 20 HAVING a > 'm'
SELECT tok AS a FROM g WHERE id < 20 HAVING a IS NULL
SELECT tok AS a FROM g WHERE id < 20 HAVING length(a) > 5
SELECT id, tok AS a FROM g WHERE id < 20 HAVING (SELECT count(*) FROM o WHERE o.tok = a) = 0
SELECT tok AS a, tok AS b FROM g WHERE id < 20 ORDER BY a, b
SELECT tok AS a, id AS a FROM g WHERE id < 20 ORDER BY a
SELECT id AS a, tok AS a FROM g WHERE id < 20 ORDER BY a
SELECT id AS a, tok AS A FROM g WHERE id < 20 ORDER BY A
SELECT tokn AS a FROM g WHERE id < 20 ORDER BY -tokn
SELECT tokn AS a FROM g WHERE id < 20 ORDER BY -a
SELECT tokn FROM g WHERE id < 20 ORDER BY 1 DESC, id
SELECT id, tok FROM g WHERE id < 20 ORDER BY tok LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY id, tok LIMIT 3
SELECT person, tok FROM g WHERE id < 20 ORDER BY person, 2 LIMIT 3
SELECT DISTINCT tok FROM g WHERE id < 20
SELECT DISTINCT id, tok FROM g WHERE id < 20
SELECT DISTINCT id, tok FROM g WHERE id < 20 ORDER BY tok
SELECT DISTINCT id, tok AS z FROM g WHERE id < 20 ORDER BY z
SELECT DISTINCT grp FROM g WHERE id < 20 ORDER BY tok
SELECT id, tok FROM g WHERE id < 20 GROUP BY id
SELECT id, tok FROM g WHERE id < 20 GROUP BY 1, 2
SELECT id, tok AS z FROM g WHERE id < 20 GROUP BY id, z
SELECT id, tok FROM g WHERE id < 20 GROUP BY id ORDER BY 2
SELECT id, tok FROM g WHERE id < 20 GROUP BY id HAVING tok > 'm'
SELECT person, tok FROM g WHERE id < 20 GROUP BY person
SELECT tok, count(*) FROM g WHERE id < 20
SELECT tok, max(id) FROM g WHERE id < 20
SELECT tok, max(tok) FROM g WHERE id < 20
SELECT tok, count(*) FROM g GROUP BY 1
SELECT tok, count(*) FROM g GROUP BY tok
SELECT tok AS grp, count(*) FROM g GROUP BY grp
SELECT grp AS tok, count(*) FROM g GROUP BY tok
SELECT tok AS zz, count(*) FROM g GROUP BY zz
SELECT grp, tok FROM g GROUP BY grp WITH ROLLUP
SELECT grp, max(tok) FROM g GROUP BY grp ORDER BY 2
SELECT grp, count(DISTINCT tok) FROM g GROUP BY grp
SELECT grp, group_concat(tok ORDER BY id) FROM g GROUP BY grp
SELECT grp, group_concat(id ORDER BY tok) FROM g GROUP BY grp
SELECT tok FROM g WHERE id < 20 UNION SELECT label FROM o WHERE id < 20
SELECT tok FROM g WHERE id < 20 UNION ALL SELECT tok FROM g WHERE id < 20
SELECT tok FROM g WHERE id < 20 UNION ALL SELECT tok FROM h WHERE id < 20 ORDER BY tok
SELECT tok FROM g WHERE id < 20 UNION ALL SELECT tok FROM h WHERE id < 20 ORDER BY 1 LIMIT 3
(SELECT tok FROM g WHERE id < 20 ORDER BY id LIMIT 5) UNION ALL (SELECT tok FROM h WHERE id < 20)
SELECT tok FROM g WHERE id < 20 EXCEPT SELECT tok FROM o WHERE id < 20
SELECT id, tok FROM g WHERE id < 20 INTERSECT SELECT g_id, tok FROM h
(SELECT id, tok FROM g WHERE id < 20)
((SELECT id, tok FROM g WHERE id < 20 ORDER BY tok))
(SELECT id, tok FROM g WHERE id < 20) ORDER BY tok
(SELECT id, tok FROM g WHERE id < 20 ORDER BY id LIMIT 5) ORDER BY tok LIMIT 2
(SELECT id, tok AS z FROM g WHERE id < 20 LIMIT 5) ORDER BY z
(SELECT id, tok AS z FROM g WHERE id < 20 LIMIT 5) ORDER BY 2
-- windows
SELECT id, tok, row_number() OVER (ORDER BY tok) FROM g WHERE id < 20
SELECT id, tok AS z, row_number() OVER (ORDER BY z) FROM g WHERE id < 20
SELECT id, tok, rank() OVER (PARTITION BY tok ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, lag(tok) OVER (ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, first_value(tok) OVER w FROM g WHERE id < 20 WINDOW w AS (ORDER BY id)
SELECT id, tok, count(*) OVER (ORDER BY id) FROM g WHERE id < 20
SELECT id, tok, dense_rank() OVER (ORDER BY id) AS tok2 FROM g WHERE id < 20 ORDER BY tok2, tok
-- expressions
SELECT concat(tok, '') FROM g WHERE id < 20
SELECT (tok) FROM g WHERE id < 20
SELECT ((tok)) AS x FROM g WHERE id < 20 ORDER BY x
SELECT CAST(tok AS CHAR), BINARY tok, tok COLLATE utf8mb4_bin, convert(tok USING latin1) FROM g WHERE id < 20
SELECT tokn + 0, -tokn, +tokn, tokn DIV 1, ~tokn FROM g WHERE id < 20
SELECT tok + 0, tok * 1, tok | 0 FROM g WHERE id < 20
SELECT CASE WHEN tok > 'm' THEN 1 END FROM g WHERE id < 20
SELECT CASE tok WHEN 'a' THEN 1 ELSE tok END FROM g WHERE id < 20
SELECT coalesce(tok, 'x'), ifnull(tok, 'x'), nullif(tok, 'x'), greatest(tok, 'a'), if(tokn > 5, tok, 1) FROM g WHERE id < 20
SELECT json_object('a', tok), json_array(tok), json_quote(tok) FROM g WHERE id < 20
SELECT json_arrayagg(tok), json_objectagg(id, tok), group_concat(tok) FROM g WHERE id < 20
SELECT max(tok), min(tokn), sum(tokn), avg(tokn), count(tok), bit_or(tokn), std(tokn) FROM g
SELECT length(tok), md5(tok), hex(tok), reverse(tok), soundex(tok), crc32(tok) FROM g WHERE id < 20
SELECT tok IS NULL, tok IS NOT NULL FROM g WHERE id < 20
SELECT elt(1, tok), field(tok, 'a'), find_in_set(tok, 'a'), make_set(1, tok) FROM g WHERE id < 20
SELECT (SELECT tok) FROM g WHERE id < 20
SELECT (SELECT g.tok FROM o WHERE o.id = g.id) FROM g WHERE id < 20
SELECT (SELECT g.tok FROM o WHERE o.id = g.id) AS z FROM g WHERE id < 20 ORDER BY z
SELECT (SELECT x.tok FROM g x WHERE x.id = g.id) AS tok FROM g WHERE id < 20 ORDER BY tok
SELECT tok AS z, (SELECT z) FROM g WHERE id < 20
SELECT tok AS z, (SELECT max(o.id) FROM o WHERE o.tok > z) FROM g WHERE id < 20
SELECT tok FROM g WHERE EXISTS (SELECT 1 FROM o WHERE o.tok = g.tok)
SELECT tok FROM g WHERE tok IN (SELECT tok FROM o)
SELECT tok FROM g WHERE (id, tok) IN (SELECT id, tok FROM o)
SELECT tok FROM g WHERE tok = ANY (SELECT tok FROM o)
SELECT id FROM g WHERE id < 20 ORDER BY (SELECT count(*) FROM h WHERE h.tok = g.tok)
SELECT id FROM g WHERE id < 20 ORDER BY length(tok), id
SELECT id FROM g WHERE id < 20 ORDER BY CASE WHEN tok > 'm' THEN 1 ELSE 2 END
SELECT 1 / tokn FROM g WHERE id < 20
SELECT exp(tokn * 1000) FROM g WHERE id < 20
SELECT tok, exp(tokn * 1000) FROM g WHERE id < 20
SELECT tok, (SELECT id FROM o WHERE o.id <= length(g.tok)) FROM g WHERE id < 20
SELECT tok, extractvalue('<a/>', tok) FROM g WHERE id < 20
SELECT tok, updatexml('<a/>', tok, 'b') FROM g WHERE id < 20
SELECT tok, json_extract('{}', tok) FROM g WHERE id < 20
SELECT tok, name_const('x', tok) FROM g WHERE id < 20
SELECT default(tok), default(ssn) FROM g WHERE id < 20
SELECT values(tok) FROM g WHERE id < 20
SELECT tok REGEXP 'a', tok LIKE 'a%', tok <=> 'a' FROM g WHERE id < 20
SELECT tok SOUNDS LIKE 'a' FROM g WHERE id < 20
SELECT interval(tokn, 1, 100), tokn BETWEEN 1 AND 100, tokn IN (1) FROM g WHERE id < 20
SELECT row(tok, 1) = row('a', 1) FROM g WHERE id < 20
-- derived tables, CTEs
SELECT tok FROM (SELECT tok FROM g WHERE id < 20) x
SELECT x.* FROM (SELECT * FROM g WHERE id < 20) x
SELECT x.*, g.tok FROM (SELECT * FROM g WHERE id < 20) x JOIN g USING (id) WHERE g.id < 20
SELECT a FROM (SELECT tok, id FROM g WHERE id < 20) x (a, b) ORDER BY a
WITH x AS (SELECT tok, id FROM g WHERE id < 20) SELECT tok FROM x
WITH x(a, b) AS (SELECT tok, id FROM g WHERE id < 20) SELECT a FROM x ORDER BY a
WITH x(id, tok) AS (SELECT tok, id FROM g WHERE id < 20) SELECT id, tok FROM x ORDER BY tok
WITH g AS (SELECT id, tok FROM g WHERE id < 20) SELECT * FROM g
WITH g AS (SELECT id, tok AS grp FROM g WHERE id < 20) SELECT grp FROM g ORDER BY grp
WITH x AS (SELECT 1 AS a) SELECT tok FROM g WHERE id < 20 ORDER BY tok
WITH RECURSIVE r(n, t) AS (SELECT 1, tok FROM g WHERE id = 1 UNION ALL SELECT n + 1, t FROM r WHERE n < 3) SELECT * FROM r LIMIT 9
WITH RECURSIVE r AS (SELECT id, tok FROM g WHERE id = 1 UNION ALL SELECT g.id, g.tok FROM g JOIN r ON g.id = r.id + 1 WHERE g.id < 5) SELECT * FROM r LIMIT 10
SELECT G.tok FROM g AS G WHERE G.id < 20
SELECT g.TOK FROM g WHERE ID < 20 ORDER BY Tok
SELECT `tok` FROM `g` WHERE id < 20 ORDER BY `g`.`tok`
-- joins
SELECT g.tok, h.tok FROM g JOIN h ON h.g_id = g.id WHERE g.id < 20
SELECT tok FROM g JOIN h USING (tok)
SELECT * FROM g NATURAL JOIN h
SELECT g.tok FROM g NATURAL JOIN (SELECT id FROM o WHERE id < 20) o WHERE g.id < 20
SELECT tok FROM g JOIN (SELECT id FROM o) o USING (id) WHERE id < 20 ORDER BY tok
SELECT * FROM g JOIN (SELECT id FROM o) o USING (id) WHERE id < 20 ORDER BY tok
SELECT * FROM (SELECT id FROM o) o RIGHT JOIN g USING (id) WHERE id < 20 ORDER BY tok
SELECT g.tok, o.tok FROM g LEFT JOIN o ON o.id = g.id AND o.tok > g.tok WHERE g.id < 20
SELECT g.tok, o.tok FROM g LEFT JOIN o ON o.id = g.id WHERE g.id < 20 ORDER BY concat(g.tok, o.tok)
SELECT tok FROM g STRAIGHT_JOIN (SELECT id FROM o) o ON o.id = g.id WHERE g.id < 20
SELECT a.tok, b.tok FROM g a, g b WHERE a.id = b.id AND a.id < 20 ORDER BY a.tok, b.tok
SELECT a.tok FROM g a JOIN g b USING (id, tok) WHERE a.id < 20
-- views
SELECT * FROM gv WHERE id < 20
SELECT token FROM gv WHERE id < 20 ORDER BY 1
SELECT token AS a FROM gv WHERE id < 20 ORDER BY a
SELECT seen FROM gv WHERE id < 20
SELECT * FROM gw WHERE id < 20 ORDER BY other
SELECT shout FROM gv WHERE id < 20
-- dates and other masks of the gateway
SELECT seen, seen_at, city, note FROM g WHERE id < 20 ORDER BY seen
SELECT seen FROM g WHERE id < 20 ORDER BY seen_at, city, note
SELECT id, seen AS d FROM g WHERE id < 20 ORDER BY d, id
SELECT seen, year(seen), to_days(seen), seen + interval 1 day FROM g WHERE id < 20
SELECT max(seen) FROM g
SELECT seen AS d FROM g WHERE id < 20 HAVING d > '2020-06-01'
SELECT seen AS d FROM g WHERE id < 20 HAVING d IS NOT NULL
SELECT DISTINCT seen FROM g WHERE id < 20
SELECT a.seen, b.seen_at, a.seen FROM g a JOIN g b USING (id) WHERE a.id < 20 ORDER BY 1, 2
SELECT concat(seen, '|', person) FROM g WHERE id < 20
SELECT city AS c, note AS n FROM g WHERE id < 20 ORDER BY c, n
SELECT city AS c FROM g WHERE id < 20 GROUP BY id, c ORDER BY c
-- dates under sql modes, limits
SELECT tok FROM g LIMIT 5
SELECT tok FROM g WHERE tok IS NOT NULL LIMIT 5
SELECT tok FROM g WHERE tok IS NULL LIMIT 5
SELECT tokn FROM g LIMIT 5
SELECT id FROM g LIMIT 5
SELECT id, kind FROM h LIMIT 5
SELECT kind FROM h LIMIT 5
SELECT kind, tok FROM h LIMIT 5
SELECT DISTINCT kind FROM h LIMIT 3
SELECT h.tok, g.tok FROM h JOIN g ON g.id = h.g_id LIMIT 5
-- columns of views that tell of a comparison: ranks over a named window, what an outer join found, EXISTS
SELECT * FROM ranked WHERE id < 30 ORDER BY id
SELECT * FROM ranked2 WHERE id < 30 ORDER BY id
SELECT * FROM outer1 WHERE id < 30 ORDER BY id
SELECT * FROM outer2 WHERE id < 30 ORDER BY id
SELECT * FROM outer3 WHERE id < 30 ORDER BY id
SELECT * FROM outer4 WHERE id < 30 ORDER BY id
SELECT * FROM outer7 WHERE id < 30 ORDER BY id
SELECT * FROM outer8 WHERE id < 30 ORDER BY id
SELECT * FROM inner1 WHERE id < 30 ORDER BY id
SELECT * FROM inner2 WHERE id < 30 ORDER BY id
SELECT * FROM filt ORDER BY grp LIMIT 9
SELECT o.id FROM o JOIN ranked USING (id) WHERE ranked.n < 5 ORDER BY o.id
SELECT o.id, outer2.one IS NULL FROM o JOIN outer2 USING (id) WHERE o.id < 30 ORDER BY o.id
-- what runs text, reads files, state or statistics
SELECT g.* FROM g PROCEDURE ANALYSE()
SELECT ssn INTO @x FROM g WHERE id = 1
SELECT ssn FROM g INTO OUTFILE '/tmp/x'
SELECT @x := ssn FROM g
SELECT @@datadir, @@global.secure_file_priv
SELECT LOAD_FILE('/etc/passwd')
HANDLER g OPEN
SELECT id /*! , ssn */ FROM g
SELECT id /*M! , ssn */ FROM g
SELECT id /* /*! , ssn */ FROM g
SELECT table_name, data_length, avg_row_length, index_length, table_rows FROM information_schema.tables
SELECT cardinality FROM information_schema.statistics
SELECT * FROM information_schema.innodb_sys_tablestats
SELECT * FROM mysql.column_stats
SELECT NAME_CONST('a', 1), DEFAULT(copy), DEFAULT(label) FROM dflt WHERE id < 3
SELECT FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID(5), LAST_INSERT_ID(tokn) FROM g
-- literals, errors, names
SELECT 'a\'', ssn FROM g WHERE id < 3
SELECT 'a\\', ssn FROM g WHERE id < 3
SELECT _latin1'a', _binary 'b', x'41', 0x41, b'1', N'a', ssn FROM g WHERE id < 3
SELECT _utf16 x'0073', concat(_binary x'00', ssn) FROM g WHERE id < 3
SELECT EXTRACTVALUE('<a/>', CONCAT('/', ssn)) FROM g WHERE id < 3
SELECT UPDATEXML('<a/>', CONCAT('~', ssn), 1) FROM g WHERE id < 3
SELECT JSON_OBJECTAGG(id, ssn), GROUP_CONCAT(ssn ORDER BY id), GROUP_CONCAT(DISTINCT tok), MAX(ssn) FROM g
SELECT POW(10, LENGTH(ssn) * 100) FROM g WHERE id < 3
SELECT REPEAT('x', LENGTH(ssn) * 100000000) IS NULL FROM g WHERE id < 3
SELECT id AS tok, tok AS id FROM g WHERE id < 9 ORDER BY id
SELECT id AS `tok`, tok AS `Id` FROM g WHERE id < 9 HAVING Id > 'm'
SELECT tok AS x, id FROM g WHERE id < 9 HAVING (SELECT x) > 'm'
SELECT tok AS ſ, id FROM g WHERE id < 9 ORDER BY CONCAT(ſ), id
SELECT tok AS id, ROW_NUMBER() OVER (ORDER BY id) FROM g WHERE id < 9
SELECT tok AS grp, COUNT(*) FROM g GROUP BY grp
SELECT SUM(ssn > '8'), BIT_XOR(tokn), STD(tokn), MEDIAN(tokn) OVER () FROM g
SELECT id FROM g WHERE BINARY ssn = 'a'
WITH x AS (WITH g AS (SELECT 1 AS id, 'a' AS ssn) SELECT * FROM g) SELECT * FROM x
WITH RECURSIVE x AS (SELECT id FROM o WHERE id < 5), o AS (SELECT id, ssn AS label FROM g) SELECT * FROM x
SELECT * FROM (SELECT id, ssn FROM g WHERE id < 3) AS h JOIN h AS g USING (id)
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
SELECT id FROM g WHERE mrn LIKE '{mrn 7}'
SELECT id FROM g WHERE '{mrn 7}' = mrn
SELECT id FROM g WHERE mrn = NULL
SELECT id FROM g WHERE mrn = 5
SELECT id FROM g WHERE mrn = true
SELECT id FROM g WHERE tok = 'x'
SELECT * FROM (SELECT * FROM g WHERE mrn = '{mrn 7}') x NATURAL JOIN o
SELECT * FROM g NATURAL JOIN (SELECT id FROM h WHERE mrn = '{mrn 7}') h WHERE g.mrn = '{mrn 7}'
WITH x AS (SELECT id, mrn FROM g WHERE mrn = '{mrn 7}' LIMIT 1) SELECT g.tok FROM g JOIN x USING (id)
WITH RECURSIVE r AS (SELECT id, mrn FROM g WHERE mrn = '{mrn 7}' UNION ALL SELECT g.id, g.mrn FROM g, r WHERE g.id = r.id + 1 AND g.id < 12) SELECT * FROM r LIMIT 5
SELECT token, mrn FROM gv WHERE mrn = '{mrn 7}'
SELECT shout FROM gv WHERE mrn = '{mrn 7}'
SELECT a.id, b.id FROM g a JOIN g b ON b.mrn = '{mrn 7}' AND a.tok = b.tok
SELECT a.id, b.id FROM g a JOIN g b ON a.mrn = b.mrn WHERE b.mrn = '{mrn 7}'
SELECT a.id, b.id FROM g a JOIN h b USING (mrn) WHERE a.mrn = '{mrn 7}'
SELECT mrn FROM g a JOIN h b USING (mrn) WHERE mrn = '{mrn 7}'
SELECT id, row_number() OVER (ORDER BY mrn) FROM g WHERE mrn = '{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' ORDER BY ssn LIMIT 1
SELECT 1 / (tokn - tokn) FROM g WHERE mrn = '{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' FOR UPDATE
SELECT id FROM g WHERE mrn = upper('{mrn 7}')
SELECT id FROM g WHERE mrn = '{mrn 7}   '
SELECT id FROM g WHERE mrn = 0
SELECT id FROM g WHERE mrn = 0x41
SELECT id FROM g WHERE mrn = b'1'
SELECT id FROM g WHERE mrn = DATE '2020-01-01'
SELECT id FROM g WHERE mrn = _binary'{mrn 7}'
SELECT id FROM g WHERE mrn = N'{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' COLLATE utf8mb4_bin
SELECT id FROM g WHERE mrn = TRUE
SELECT id FROM g WHERE mrn = -1
SELECT id FROM g WHERE mrn <=> '{mrn 7}'
SELECT id FROM g WHERE mrn = ('{mrn 7}')
SELECT id FROM g WHERE ((mrn)) = '{mrn 7}' AND (id > 3)
SELECT id FROM g WHERE mrn = '{mrn 7}' XOR id = 3
SELECT id FROM g WHERE (mrn = '{mrn 7}') = 1
SELECT id FROM g WHERE mrn = '{mrn 7}' = 1
SELECT id FROM g HAVING mrn = '{mrn 7}'
SELECT id, mrn AS m FROM g HAVING m = '{mrn 7}'
SELECT id, mrn FROM g WHERE mrn = '{mrn 7}' HAVING mrn > 'a'
SELECT id, mrn AS id FROM g WHERE mrn = '{mrn 7}' ORDER BY id
SELECT g.id, h.id FROM g RIGHT JOIN h ON h.mrn = '{mrn 7}' AND h.g_id = g.id WHERE h.id < 20
SELECT id FROM g WHERE mrn = '{mrn 7}' AND exp(id * 1000) > 0
SELECT exp(id * 1000) FROM g WHERE mrn = '{mrn 7}'
SELECT id FROM g WHERE mrn = '{mrn 7}' AND id = (SELECT id FROM o WHERE o.id <= g.id)
SELECT (SELECT id FROM g WHERE mrn = '{mrn 7}'), id FROM o WHERE id < 5
SELECT kind, tok FROM h WHERE mrn = '{mrn 7}'
SELECT mrn FROM gv WHERE mrn = '{mrn 7}' UNION ALL SELECT label FROM o
-- look-ups that choose no rows: these must not come in the order of the raw column's index
SELECT g.id FROM g LEFT JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id LIMIT 100
SELECT g.id, o.n FROM g LEFT JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id LIMIT 100
SELECT g.id FROM o RIGHT JOIN g ON g.mrn = '{mrn 7}' LIMIT 50
SELECT id FROM g WHERE id IN (SELECT id FROM g WHERE mrn = '{mrn 7}') OR id > 3 LIMIT 10
SELECT o.id, x.id FROM o LEFT JOIN (SELECT g.id FROM g LEFT JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id) x ON x.id > 0 WHERE o.id = 1 LIMIT 10
SELECT group_concat(g.id) FROM g LEFT JOIN o ON g.mrn = '{mrn 7}' AND o.id = g.id
-- tables and views whose rows the server could take from an index of raw values, in its order
SELECT id FROM g LIMIT 30
SELECT kind FROM h LIMIT 30
SELECT count(*), group_concat(id) FROM h WHERE id < 100
SELECT id FROM gv LIMIT 30
SELECT id FROM (SELECT id, note FROM gv) x LIMIT 30
SELECT token FROM gv LIMIT 30
SELECT group_concat(id) FROM gv
SELECT id FROM gvv LIMIT 30
SELECT id FROM gvv WHERE token IS NOT NULL LIMIT 30
SELECT kind FROM gw LIMIT 30
SELECT id FROM hv LIMIT 30
SELECT id, kind FROM hv LIMIT 30
SELECT DISTINCT kind FROM hv LIMIT 30
SELECT group_concat(id) FROM hv
SELECT count(*) FROM hv
SELECT id FROM hvv LIMIT 30
SELECT a.id FROM hvv a JOIN o ON o.id = a.id LIMIT 30
SELECT id FROM hn LIMIT 30
SELECT id FROM gn LIMIT 30
SELECT id FROM semi LIMIT 30
SELECT kind FROM hd LIMIT 30
SELECT id FROM hg LIMIT 60
-- writes, each of which a person would have approved
UPDATE dflt SET label = DEFAULT(copy) WHERE id < 9
INSERT INTO o (id, tok) SELECT 100 + id, tok FROM g
INSERT INTO o (id, tok) SELECT 100 + id, concat(tok) FROM g
INSERT INTO o (id, tok) SELECT 300 + x.id, x.t FROM (SELECT id, tok AS t FROM g) x
INSERT INTO o (id, n) SELECT 400 + id, length(tok) FROM g
INSERT INTO o (id, n) SELECT 500 + id, CASE WHEN tok IS NULL THEN 1 ELSE 2 END FROM g
INSERT INTO o (id, n) SELECT 900 + id, 1 FROM g WHERE mrn = '{mrn 7}'
INSERT INTO o (id, n) SELECT id, 1 FROM g ON DUPLICATE KEY UPDATE label = g.tok
INSERT INTO o (id, n) SELECT g.id, 1 FROM g ON DUPLICATE KEY UPDATE o.n = length(g.tok)
INSERT INTO o (id, n) SELECT id, tokn FROM g ON DUPLICATE KEY UPDATE n = VALUES(n)
INSERT INTO o (id, tok) VALUES (1001, (SELECT tok FROM g WHERE id = 1))
INSERT INTO o (id, n) VALUES (1004, (SELECT count(*) FROM g WHERE tok IS NOT NULL))
INSERT INTO o (id, n) VALUES (1005, 5) ON DUPLICATE KEY UPDATE n = (SELECT max(length(tok)) FROM g)
INSERT INTO o (id, tok) SELECT 1100 + id, token FROM gv
INSERT INTO o SELECT id + 1400, tokn, city, note FROM g
INSERT INTO o SET id = 1500, tok = (SELECT max(tok) FROM g)
REPLACE INTO o (id, n) VALUES (5, 1)
REPLACE INTO o (id, tok) SELECT id, tok FROM g
UPDATE g SET grp = tok WHERE id < 5
UPDATE g SET grp = concat(tok, '') WHERE id < 5
UPDATE g SET grp = (SELECT g.tok) WHERE id < 5
UPDATE g SET grp = (SELECT max(label) FROM o WHERE o.tok > g.tok) WHERE id < 5
UPDATE g SET grp = (SELECT group_concat(label ORDER BY g.ssn) FROM o) WHERE id < 5
UPDATE g SET grp = (SELECT label FROM o ORDER BY g.ssn, id LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT max(label) FROM o GROUP BY g.ssn LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT max(length(g.ssn)) FROM o) WHERE id < 5
UPDATE g SET grp = (SELECT count(*) FROM o WHERE o.id < length(g.ssn)) WHERE id < 5
UPDATE g SET grp = (SELECT sum(length(g.ssn)) OVER () FROM o LIMIT 1) WHERE id < 5
UPDATE g SET grp = IF(ssn IS NULL, 'a', 'b') WHERE id < 5
UPDATE g SET grp = IF(tok IS NULL, 'a', 'b') WHERE id < 12
UPDATE g SET grp = IF(isnull(ssn), 'a', 'b') WHERE id < 12
UPDATE g SET grp = coalesce(tok, 'b') WHERE id < 12
UPDATE g SET grp = 'z' WHERE mrn = '{mrn 7}'
UPDATE g SET grp = 'z' WHERE mrn = '{mrn 7}' AND length(ssn) > 5
UPDATE g SET grp = 'z' WHERE upper(tok) > 'M'
UPDATE g SET grp = 'z' WHERE length(tok) > 6
UPDATE g SET grp = 'y' WHERE ssn IS NULL
UPDATE g SET grp = 'y' WHERE ssn
UPDATE g SET grp = 'y' WHERE NOT ssn
UPDATE g SET grp = 'y' WHERE -ssn
UPDATE g SET grp = 'y' WHERE EXISTS (SELECT 1 FROM o WHERE o.tok > g.ssn)
UPDATE g SET grp = 'y' WHERE EXISTS (SELECT 1 FROM h WHERE h.tok = g.tok)
UPDATE g SET grp = 'y' WHERE EXISTS (SELECT g.ssn FROM o HAVING g.ssn > 'a')
UPDATE g SET grp = 'y' WHERE id IN (SELECT id FROM h WHERE h.tok > g.ssn)
UPDATE g SET grp = 'y' WHERE id IN (SELECT x.id FROM (SELECT id, length(tok) AS n FROM g) x WHERE x.n > 6)
UPDATE g SET grp = 'y' WHERE id IN (SELECT h.g_id FROM h WHERE length(h.tok) > 6)
UPDATE g SET grp = 'y' WHERE id IN (SELECT h.g_id FROM h WHERE mrn = '{mrn 7}')
UPDATE g SET grp = 'y' WHERE (SELECT count(*) FROM o GROUP BY g.ssn) > 3
UPDATE g SET grp = 'y' WHERE (SELECT max(o.id) OVER (ORDER BY g.ssn) FROM o LIMIT 1) > 3
UPDATE g SET grp = 'y' ORDER BY ssn LIMIT 3
UPDATE g SET grp = 'y' LIMIT 3
UPDATE o SET n = n + 1 WHERE o.id IN (SELECT id FROM g WHERE length(tok) > 6)
UPDATE o SET n = (SELECT length(tok) FROM g WHERE g.id = o.id) WHERE id < 5
UPDATE o SET n = (SELECT exp(length(tok) * 1000) FROM g WHERE g.id = o.id) WHERE id < 5
UPDATE o SET tok = (SELECT tok FROM g WHERE g.id = o.id) WHERE id < 5
UPDATE o SET n = 4 ORDER BY (SELECT tok FROM g WHERE g.id = o.id) LIMIT 3
UPDATE o SET n = 4 ORDER BY (SELECT length(tok) FROM g WHERE g.id = o.id) LIMIT 3
UPDATE o JOIN g ON g.id = o.id SET o.tok = g.tok
UPDATE g SET ssn = tok WHERE id < 5
UPDATE g SET person = ssn WHERE id < 5
UPDATE g SET mrn = 'same' WHERE id < 4
UPDATE gv SET person = 3 WHERE id = 4
DELETE FROM o WHERE tok IN (SELECT tok FROM g)
DELETE FROM h WHERE length(tok) > 6
DELETE FROM h WHERE mrn = '{mrn 22}'
DELETE FROM h WHERE id = 23 RETURNING tok
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = tok
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = concat(ssn, 'x')
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = VALUES(ssn)
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = concat(VALUES(ssn), 'x')
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = IF(VALUES(ssn) = ssn, 1, 2)
INSERT INTO g (id, ssn, mrn, person) VALUES (7, 'abc', 'mmm', length(ssn))
INSERT INTO g (id, ssn, mrn, grp) VALUES (8888, 'abc', 'mmm1', ssn)
INSERT INTO g (id, ssn, mrn, grp) VALUES (8889, 'abc', 'mmm2', (SELECT ssn))
INSERT IGNORE INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm')
INSERT INTO g (id, ssn, mrn) VALUES (7777, 'abc', '{mrn 9}')
-- how many rows a write changed, and which of them a full-text index finds
UPDATE w SET n = 1 WHERE MATCH(body) AGAINST ('word1')
UPDATE w SET n = MATCH(body) AGAINST ('word1') WHERE id < 20
DELETE FROM w WHERE MATCH(body) AGAINST ('word1')
UPDATE w SET ssn = 'ssn1' WHERE id = 7
UPDATE w SET ssn = 'ssn1' WHERE id < 7
INSERT INTO w (id, ssn) VALUES (8, 'ssn1') ON DUPLICATE KEY UPDATE ssn = VALUES(ssn)
INSERT INTO w (id, ssn) VALUES (9, 'ssn1'), (10, 'ssn1'), (11, 'ssn1') ON DUPLICATE KEY UPDATE ssn = VALUES(ssn)
INSERT INTO w (id, n) VALUES (12, 1) ON DUPLICATE KEY UPDATE ssn = 'ssn1'
INSERT INTO w (id, n) SELECT id, n FROM o WHERE id = 13 ON DUPLICATE KEY UPDATE ssn = 'ssn1'
INSERT INTO w (id, n) SELECT id, n FROM o WHERE id = 14 ON DUPLICATE KEY UPDATE n = 5
INSERT INTO w (id, ssn, n) VALUES (8000, 'ssn1', 4)
-- names that the server finds further outside than one would think; to it s and ſ are two letters
UPDATE g SET grp = (SELECT max(a.label) FROM (SELECT 'a' AS ssn) x, o a JOIN o b ON ssn > b.tok) WHERE id < 9
UPDATE g SET grp = (SELECT ssn FROM (SELECT 'a' AS ſsn) x) WHERE id < 5
UPDATE g SET grp = (SELECT label AS ſsn FROM o HAVING ssn > '8' LIMIT 1) WHERE id < 5
INSERT INTO g (id, ssn, mrn) VALUES (7, 'abc', 'mmm') ON DUPLICATE KEY UPDATE grp = (SELECT ssn FROM (SELECT 'a' AS ſsn) x)
UPDATE w SET n = (SELECT count(*) FROM (SELECT 'a' AS body) x, o a JOIN o b ON MATCH (body) AGAINST ('word1')) WHERE id < 9
-- names of the select list
UPDATE g SET grp = (SELECT label AS ssn FROM o GROUP BY length(ssn), ssn HAVING max(ssn) > '8' ORDER BY concat(ssn, label) LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT label AS ssn FROM o UNION SELECT 'q' ORDER BY concat(ssn) LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT label AS ssn FROM o HAVING (SELECT ssn) > '8' LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT row_number() OVER (ORDER BY ssn, id) AS ssn FROM o LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT max(x.label) FROM o x JOIN (o y JOIN o z ON z.id = y.id AND ssn > '8') ON x.id = y.id) WHERE id < 9
UPDATE g SET grp = (SELECT label FROM o NATURAL JOIN (SELECT 1 AS id, 'a' AS ssn) x WHERE ssn = 'a') WHERE id < 5
UPDATE g SET grp = (SELECT g.ssn FROM (SELECT 'a' AS x) g) WHERE id < 5
UPDATE g AS o SET grp = (SELECT o.ssn FROM o LIMIT 1) WHERE o.id < 5
UPDATE g SET grp = (SELECT COUNT(*) FROM o GROUP BY ssn LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT COUNT(*) FROM o HAVING ssn > '8' LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT 'x' WHERE ssn > '8') WHERE id < 5
UPDATE g SET grp = 'p' WHERE id < 5 ORDER BY ssn LIMIT 2
INSERT INTO g (id, ssn, grp) VALUES (901, 'abc', (SELECT ssn FROM (SELECT 'a' AS ſsn) x))
INSERT INTO g (ssn, id, grp) VALUES ('abc', 902, (SELECT max(a.label) FROM (SELECT 'a' AS ssn) x, o a JOIN o b ON ssn > b.tok))
DELETE FROM g WHERE id = 903 AND (SELECT max(a.label) FROM (SELECT 'a' AS ssn) x, o a JOIN o b ON ssn > b.tok) > 'a'
-- positions that only the server sees: its grammar drops brackets and signs
SELECT id, tok FROM g WHERE id < 20 ORDER BY (2) LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY +2 LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY - -2 DESC LIMIT 3
SELECT id, tok FROM g WHERE id < 20 GROUP BY (2) LIMIT 3
SELECT id, tok FROM g WHERE id < 20 ORDER BY '2', 2.0, b'10', 0x02, 1 + 1, NULL, (SELECT 2) LIMIT 3
-- HAVING sees what is selected or grouped by, then the queries around: not its own tables
UPDATE g SET grp = (SELECT max(label) FROM o AS g HAVING g.tok > '8') WHERE id < 5
UPDATE g SET grp = (SELECT label FROM o AS g HAVING tok > '8' LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT max(a.label) FROM o a JOIN o b USING (tok) HAVING tok > '8') WHERE id < 5
UPDATE g SET grp = (SELECT max(label) FROM (SELECT label, tok AS ssn FROM o) g HAVING g.ssn > '8') WHERE id < 5
UPDATE g SET grp = (SELECT max(label) FROM (SELECT label, tok AS ssn FROM o) g HAVING (SELECT g.ssn) > '8' AND max(g.ssn) > '0') WHERE id < 5
UPDATE g SET grp = (SELECT max(label) FROM o AS g GROUP BY g.tok HAVING g.tok > '8' LIMIT 1) WHERE id < 5
UPDATE g SET grp = (SELECT tok AS x FROM o AS g HAVING g.tok > '8' LIMIT 1) WHERE id < 5
-- aggregates that the query around computes, and words for the planner
SELECT tok, (SELECT COUNT(g.id)) AS n FROM g WHERE g.grp = 'w1'
UPDATE g SET grp = (SELECT MAX(g.grp)) WHERE id < 3
INSERT DELAYED INTO o (id) VALUES (7000)
SELECT STRAIGHT_JOIN SQL_BIG_RESULT id FROM g WHERE id < 3
UPDATE g SET grp = (SELECT label AS ssn FROM o GROUP BY id ORDER BY max(ssn) LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT label AS ssn FROM o ORDER BY CASE WHEN ssn > 'l3' THEN 1 ELSE 2 END, id LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT count(*) AS ssn FROM o GROUP BY n HAVING ssn > 3 AND sum(ssn) > 1 LIMIT 1) WHERE id < 9
UPDATE g SET grp = (SELECT max(label) FROM o g WHERE id IN (SELECT h.id FROM h GROUP BY h.id HAVING g.tok > '8')) WHERE id < 9
UPDATE g SET grp = (SELECT max(x.label) FROM (SELECT label, tok AS ssn FROM o g GROUP BY id HAVING g.tok > '8') x) WHERE id < 9
-- counts, beside groups by a person and windows
SELECT person, count(*) FROM g GROUP BY person ORDER BY 1
SELECT person, count(*), max(tok) FROM g GROUP BY 1 ORDER BY 1
SELECT g.person, count(*) FROM g JOIN h ON h.g_id = g.id GROUP BY g.person ORDER BY 1
SELECT g.person AS who, count(h.id) FROM g LEFT JOIN h ON h.tok = 'a' GROUP BY who ORDER BY 1
SELECT g.person, count(*) FROM g GROUP BY g.person WITH ROLLUP
SELECT g.person, sum(count(*)) OVER () FROM g GROUP BY g.person ORDER BY 1
SELECT DISTINCT grp, max(tok) OVER (PARTITION BY grp) FROM g ORDER BY 1
SELECT DISTINCT max(tokn) OVER () FROM g
SELECT n FROM (SELECT sum(tok IS NULL) AS n FROM g) x
SELECT sum(CASE WHEN tok IS NULL THEN 100 END), sum(tok > 'm') FROM g
-- look-ups in other clothes
SELECT id FROM g WHERE (mrn) = ('{mrn 3}') AND 1
SELECT id FROM g WHERE mrn = 0
SELECT id FROM g WHERE mrn = true
SELECT g.id FROM g LEFT JOIN g q ON q.mrn = '{mrn 3}' AND q.mrn = '{mrn 4}' ORDER BY 1
