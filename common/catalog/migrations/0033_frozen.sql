-- After a rebuild or a merge nothing of a repository expires, is forgotten or is collected until an operator has
-- looked and resumes it: what was imported is only as good as what the store could show. Backups, restores and
-- checks go on. frozen_at NULL: not frozen.
ALTER TABLE repository ADD COLUMN frozen_at timestamptz;
ALTER TABLE repository ADD COLUMN frozen_reason text;
ALTER TABLE repository ADD CONSTRAINT repository_frozen_says_why CHECK ((frozen_at IS NULL) = (frozen_reason IS NULL));

CREATE FUNCTION repository_freeze(p_repository int, p_reason text) RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  UPDATE repository SET frozen_at = coalesce(frozen_at, clock_timestamp()), frozen_reason = left(p_reason, 400)
  WHERE no = p_repository $$;
REVOKE ALL ON FUNCTION repository_freeze(int, text) FROM PUBLIC;
