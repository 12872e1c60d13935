-- Statements of an attacker with the analyst's credential, one a line: none is answered.
SELECT 1 SETTINGS select='file(\'/etc/passwd\')' FORMAT RawBLOB
SELECT * SETTINGS implicit_table_at_top_level='hf_store.verdict'
SELECT 1 SETTINGS filter='(SELECT count() FROM hf_store.verdict) > 0'
SELECT count() FROM ingest_window SETTINGS database='hf_store'
EXPLAIN SELECT 1 SETTINGS select='file(\'/etc/passwd\')'
SELECT file('/etc/passwd')
SELECT 1 AS a$$, file('/etc/passwd') AS b$$
SELECT 1 AS a$$, (SELECT any(a) FROM hf_store.secret) AS b$$
SELECT * APPLY(file) FROM (SELECT '/etc/passwd' AS p)
SELECT * APPLY file FROM (SELECT '/etc/passwd' AS p)
SELECT * APPLY(x -> file(x)) FROM (SELECT '/etc/passwd' AS p)
SELECT arrayMap(file, ['/etc/passwd'])
SELECT `fil\x65`('/etc/passwd')
SELECT * FROM `hf\x5fstore`.verdict
SELECT * FROM "hf\x5fstore".verdict
SELECT * FROM `sys\x74em`.processes
SELECT * FROM default.`/etc/passwd`
SELECT * FROM `/etc/passwd`
SELECT * FROM '/etc/passwd'
SELECT 1 AS a$$ INTO OUTFILE './run/out1.txt' FORMAT TSV -- $$
WITH file AS f SELECT arrayMap(f, ['/etc/passwd'])
SELECT * FROM numbers(1, SETTINGS select = 'file(1)')
SELECT * FROM values('a UInt8', 1, SETTINGS max_threads = 1)
SELECT arrayMap(x -> f(x), ['/etc/passwd']), file AS f
WITH (x -> x) AS file SELECT (SELECT file('/etc/passwd'))
SELECT arrayReduce('file', ['/etc/passwd'])
SELECT initializeAggregation('file', '/etc/passwd')
SELECT * FROM view(SELECT file('/etc/passwd'))
SELECT * FROM numbers(length(file('/etc/passwd')))
SELECT 1 LIMIT length(file('/etc/passwd'))
SELECT 1 SETTINGS additional_result_filter='1'
SELECT 1 FROM (SELECT 1 SETTINGS select='file(1)')
SELECT 1 IN (SELECT 1 SETTINGS select='file(1)')
SELECT 1 UNION ALL SELECT 1 SETTINGS select='x'
(SELECT 1 SETTINGS select='x') UNION ALL SELECT 1
SELECT * FROM (EXPLAIN SELECT file('/etc/passwd'))
SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('/etc/passwd')))
EXPLAIN EXPLAIN SELECT 1
EXPLAIN ESTIMATE SELECT * FROM hf_store.verdict
EXPLAIN TABLE OVERRIDE mysql('x','y','z','u','p') PARTITION BY 1
EXPLAIN INSERT INTO hf_store.verdict SELECT 1
EXPLAIN SYNTAX CREATE TABLE x (a Int8) ENGINE=URL('http://x')
DESCRIBE (SELECT file('/etc/passwd'))
DESCRIBE file('/etc/passwd')
DESCRIBE TABLE hf_store.verdict
DESCRIBE (SELECT 1), file('/etc/passwd')
DESCRIBE TABLE (SELECT * FROM hf_store.verdict)
SHOW CREATE TABLE hf_store.verdict
EXISTS TABLE hf_store.verdict
SHOW TABLES FROM hf_store
SHOW COLUMNS FROM hf_store.verdict
SHOW INDEX FROM hf_store.verdict
SHOW CLUSTERS
SHOW SETTINGS LIKE 'x'
SHOW MERGES
SHOW DICTIONARIES FROM hf_store
SHOW TABLES WHERE file('/etc/passwd') != ''
SHOW DATABASES WHERE file('/etc/passwd') != ''
SHOW DATABASES LIMIT length(file('/etc/passwd'))
SHOW COLUMNS FROM verdicts WHERE file('/etc/passwd') != ''
SELECT dictGet('hf_store.x', 'a', 1)
SELECT joinGet('hf_store.x', 'a', 1)
SELECT joinGet(hf_store.x, 'a', 1)
SELECT hasColumnInTable('hf_store', 'verdict', 'x')
SELECT 1 IN hf_store.verdict
SELECT 1 IN system.processes
SELECT 1 IN system.tables
SELECT in(1, hf_store.verdict)
SELECT globalNotIn(1, hf_store.verdict)
SELECT hf_store.verdict.x FROM hf.verdicts
SELECT hf_store.verdict.* FROM hf_store.verdict
SELECT * FROM hf.verdicts, hf_store.verdict
SELECT * FROM hf.verdicts JOIN hf_store.verdict USING (verdict_id)
SELECT * FROM hf.verdicts WHERE verdict_id IN (SELECT verdict_id FROM hf_store.verdict)
SELECT CAST(unhex('00') AS AggregateFunction(uniq, UInt8))
SELECT CAST(unhex('00'), concat('Aggregate', 'Function(uniq, UInt8)'))
SELECT JSONExtract('{}', 'x', 'AggregateFunction(uniq, UInt8)')
SELECT {x:AggregateFunction(uniq, UInt8)}
SELECT 1 SETTINGS param_x='1'
SELECT 1 SETTINGS max_threads=DEFAULT
SELECT * FROM verdicts STREAM
SELECT 1 FORMAT Template
SELECT 1 FORMAT Protobuf SETTINGS format_schema='x'
SELECT 1 FORMAT MySQLWire
SELECT formatRow('Template', 1)
SELECT editDistance('a','b')
SELECT levenshteinDistance('a','b')
SELECT arrayFold((a,x)->a+x,[1],0)
SELECT sleep(1)
SELECT formatQuery('SELECT 1')
SELECT getSetting('select')
SELECT hostName()
SELECT aiGenerate('x','y')
SELECT FQDN()
SELECT fileIf('a',1)
SELECT sumFile('a')
SELECT * FROM merge('hf','.*')
SELECT * FROM eval('SELECT 1')
SELECT * FROM filesystem('/')
SELECT * FROM fuzzQuery('SELECT 1')
SELECT * FROM loop(hf.verdicts)
SELECT * FROM Python(x)
SELECT * FROM system.query_log
SELECT * FROM system.disks
SELECT * FROM INFORMATION_SCHEMA.PROCESSLIST
EXECUTE AS x SELECT 1
PREPARE x AS SELECT 1
TABLE hf_store.verdict
EXPLAIN SELECT 1 FORMAT Template
EXPLAIN json=1, select='x' SELECT 1
KILL QUERY WHERE 1
SELECT 1 PARALLEL WITH SELECT 2
CHECK TABLE hf.verdicts
SELECT sum(1) OVER (ORDER BY file('/etc/passwd'))
SELECT 1 FROM hf.verdicts WINDOW w AS (ORDER BY file('/etc/passwd'))
SELECT * REPLACE (file('/etc/passwd') AS model_id) FROM verdicts
SELECT a.file('/etc/passwd') FROM (SELECT 1) a
SELECT tupleElement(file('/etc/passwd'), 1)
SELECT quantile(length(file('/etc/passwd')))(1)
SELECT (x -> file(x))('/etc/passwd')
SELECT transform(1, [1], [file('/etc/passwd')])
WITH RECURSIVE t AS (SELECT file('/etc/passwd') AS n UNION ALL SELECT n FROM t) SELECT n FROM t
WITH t AS (SELECT * FROM hf_store.verdict) SELECT 1
SELECT evalMLMethod(1)
SELECT `hf_store.verdict`.x FROM `hf_store.verdict`
SELECT * FROM `hf_store.verdict`
SELECT * FROM hf.`hf_store.verdict`
SELECT * FROM hf.`../hf_store/verdict`
SELECT * FROM information_schema.`tables`, system.users
SELECT arrayMap(x -> (SELECT count() FROM hf_store.verdict), [1])
SELECT getMacro('x')
SELECT mapApply(file, map('a','b'))
SELECT arraySort(file, ['/etc/passwd'])
SELECT nullIn(1, hf_store.verdict)
SELECT count() FROM hf.verdicts ARRAY JOIN [file('/etc/passwd')] AS q
SELECT * FROM hf.verdicts SAMPLE file('/etc/passwd')
SELECT INTERVAL file('/etc/passwd') DAY
SELECT CASE file('/etc/passwd') WHEN '' THEN 1 END
SELECT EXTRACT(DAY FROM toDate(file('/etc/passwd')))
SELECT any(arithmetic) FROM hf_store.verdict
SELECT * FROM hf_store.metric_window
select * from HF_STORE.verdict
SELECT * FROM system.tables AS t, system.processes
SELECT * FROM system.settings, system.query_log
SELECT * FROM information_schema.tables, default.x
SELECT * FROM default.verdicts
SELECT 1 SETTINGS order='file(1)'
SELECT 1 SETTINGS sort='file(1)'
SELECT 1 SETTINGS format='Template'
SELECT 1 SETTINGS output_format='Template', format_template_row='/etc/passwd'
SELECT 1 SETTINGS dialect='clickhouse_json'
SELECT 1 SETTINGS additional_table_filters={'hf.verdicts':'1'}
SELECT 1 SETTINGS compatibility='21.1'
SELECT 1 SETTINGS allow_introspection_functions=1
SELECT 1 SETTINGS readonly=2
SELECT 1 SETTINGS max_memory_usage=0
SELECT 1 SETTINGS output_format_schema='/tmp/x'
SELECT * FROM view(SELECT 1 SETTINGS filter='1')
SELECT (SELECT 1 SETTINGS max_threads=1)
SHOW COLUMNS FROM verdicts LIKE 'x\' OR file(\'/etc/passwd\') != \''
SHOW TABLES LIKE 'x\' OR file(\'/etc/passwd\') != \''
SHOW DATABASES LIKE 'x\' OR file(\'/etc/passwd\') != \''
SHOW COLUMNS FROM `x\' OR 1=1 --`
SELECT hasAny(range(10000000), arrayMap(x -> x + 10000000, range(10000000)))
SELECT hasAll(range(10000000), range(10000000))
SELECT arrayMap(hasAll, [[1]], [[1]])
SELECT kolmogorovSmirnovTest('two-sided', 'exact')(toFloat64(rand(number)), number % 2) FROM numbers(400000)
SELECT length(seriesDecomposeSTL(arrayMap(x -> toFloat64(x % 7), range(3000000)), 7))
SELECT editDistance(repeat('a', 60000), repeat('b', 60000))
SELECT 'a' ILIKE concat('%', repeat('a', 100000), 'b%')
SELECT 'a' NOT ILIKE '%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab%'
WITH concat(repeat('a', 100000), 'b') AS n SELECT repeat('a', 200000) ILIKE n
SELECT countSubstringsCaseInsensitive(repeat('a', 200000), repeat('a', 100000))
SELECT positionCaseInsensitiveUTF8(materialize(repeat('a', 200000)), toString(repeat('a', 100000)))
SELECT multiSearchAnyCaseInsensitive(repeat('a', 200000), arrayMap(x -> repeat('a', x), range(1000)))
SELECT multiSearchFirstIndexCaseInsensitiveUTF8(repeat('a', 200000), ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', 'b'])
SELECT position(repeat('a', 1000000), repeat('a', 500000))
WITH repeat('a', 500000) AS n SELECT locate(n, repeat('a', 1000000)), locate(repeat('a', 1000000), n)
SELECT countSubstrings(repeat('a', 1000000), x.n) FROM (SELECT repeat('a', 500000) AS n) AS x
SELECT position(repeat('a', 1000000), n) FROM (SELECT repeat('a', 500000)) AS x(n)
SELECT position(repeat('a', 1000000), `repeat('a', 500000)`) FROM (SELECT repeat('a', 500000))
SELECT normalizeUTF8NFC(repeat('a', 500000))
SELECT removeDiacriticsUTF8(repeat('a', 500000))
SELECT extractTextFromHTML(repeat('<!--', 100000))
SELECT JSONMergePatch('{}', '{}')
