-- A row when the job left an answer that still lives; $6 job.
SELECT answer FROM holdfast.job_answer WHERE job = $6 AND (expires_at IS NULL OR expires_at > clock_timestamp())
