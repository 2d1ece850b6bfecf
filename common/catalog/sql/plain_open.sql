-- A row when this job's backup has a plain copy in this job's store: name, bytes, sha256; is it committed, the newest, what latest names.
SELECT name, bytes, sha256, committed, newest, told FROM holdfast.plain_open($1, $2, $3)
