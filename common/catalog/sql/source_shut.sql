-- A row where no window lets a backup of this source start now: why not.
SELECT w.words FROM holdfast.source_window w JOIN holdfast.source s ON s.no = w.source
WHERE s.name = $1 AND s.retired_at IS NULL AND w.method = coalesce($2, s.spec ->> 'method', '') AND (NOT w.open OR w.until <= clock_timestamp() OR w.since > clock_timestamp())
