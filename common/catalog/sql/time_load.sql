-- A row a living source with windows or calendars: its zone, both as its policy has them, and the methods that its jobs may have.
SELECT s.no, coalesce(s.spec ->> 'timezone', 'UTC'), coalesce(s.spec -> 'windows', '[]')::text, coalesce(s.spec -> 'calendars', '{}')::text,
  (SELECT jsonb_agg(DISTINCT m)::text FROM (SELECT coalesce(s.spec ->> 'method', '') AS m
     UNION SELECT e.value ->> 'method' FROM jsonb_each(coalesce(s.spec -> 'schedules', '{}')) e WHERE e.value ->> 'method' IS NOT NULL
     UNION SELECT n.value FROM jsonb_array_elements(coalesce(s.spec -> 'windows', '[]')) w,
       jsonb_array_elements_text(coalesce(w.value -> 'methods', '[]')) n) x)
FROM holdfast.source s WHERE s.retired_at IS NULL AND (s.spec ? 'windows' OR s.spec ? 'calendars') ORDER BY s.no
