-- Each call looks at all index objects of a repository: with 100 000 backups most of the time went into compiling that.
ALTER FUNCTION collect_indexes(bigint, bigint, uuid, int) SET jit = off;
