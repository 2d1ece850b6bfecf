-- A row a file that this job is to take away: its number, name, bytes, sha256, why.
SELECT no, name, bytes, sha256, why FROM holdfast.plain_take($1, $2, $3, $4)
