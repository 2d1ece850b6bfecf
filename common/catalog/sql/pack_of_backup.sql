-- A row a pack of the backup that this job is about, after a pack number.
SELECT no, object, pack, kind, bytes, sha256 FROM holdfast.pack_of_backup($1, $2, $3, $4, $5, $6)
