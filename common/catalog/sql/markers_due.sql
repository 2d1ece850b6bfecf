-- A row a committed backup of this job's repository without a known marker.
SELECT backup, manifest_sha256, index_object, index_sha256, job, attempt, sequence, committed_at, source
FROM holdfast.markers_due($1, $2, $3)
