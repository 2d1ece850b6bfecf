-- The consistency point of this transaction: snapshot, its Unix time in ns, WAL position, standby?,
-- encoding.
SELECT pg_catalog.pg_export_snapshot(),
    (extract(epoch FROM pg_catalog.transaction_timestamp()) * 1000000)::bigint * 1000,
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
        ELSE pg_catalog.pg_current_wal_insert_lsn() END,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('server_encoding')
