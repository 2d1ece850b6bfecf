-- No row: kept, or counted up.
INSERT INTO holdfast.decision(job, source, schedule, slot, verdict, code, text)
SELECT j.id, coalesce(j.source, s.no), j.schedule, j.slot, $3, $4, $5
FROM (SELECT 1) one LEFT JOIN holdfast.job j ON j.id = $1 LEFT JOIN holdfast.source s ON s.name = $2
ON CONFLICT (job, code) WHERE job IS NOT NULL
DO UPDATE SET count = holdfast.decision.count + 1, last_at = clock_timestamp(), text = excluded.text, verdict = excluded.verdict
