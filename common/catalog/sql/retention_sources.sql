-- A row a source and repository: its rules and what may freeze it. $1 source's name, $2 its number, $3 repository; names after $4, $5 sources.
SELECT source, name, repository, store, key_set, spec, timezone, failures, suspicious, frozen, lock_s, policy, now_is, retired
FROM holdfast.retention_sources(coalesce($2::int, (SELECT no FROM holdfast.source WHERE name = $1), CASE WHEN $1 IS NOT NULL THEN -1 END), $3::int, $4, $5)
