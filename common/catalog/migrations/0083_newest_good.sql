-- Which backup a name without a date stands for: the newest one that nothing is known against, and which newer ones it passed over, why.

-- What is known against a backup, in words; NULL: nothing.
CREATE FUNCTION backup_fault(b backup) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(
    CASE WHEN b.outcome <> 'completed' THEN format('it is %s: %s of its items could not be read or changed meanwhile', b.outcome, b.issue_count) END,
    (SELECT CASE WHEN count(*) FILTER (WHERE p.fault IS NULL) = 0 THEN coalesce(string_agg(format('%s: %s', p.store, p.fault), '; ' ORDER BY p.n), 'it is in no store') END
       FROM backup_places(b.id, NULL) p),
    (SELECT format('its source is under suspicion since %s: %s', rfc3339(s.suspicious_at), s.suspicious_reason) FROM source s
       WHERE s.no = b.source AND s.suspicious_at <= b.consistent_at)) $$;

-- One by one from the newest: the packs of a backup are looked through for each.
CREATE FUNCTION backup_newest_good(p_source text, p_before timestamptz) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  b backup;
  fault text;
  passed jsonb := '[]';
  known int := (SELECT no FROM source WHERE name = p_source);
BEGIN
  IF known IS NULL THEN
    RAISE EXCEPTION 'no source is called %', p_source USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
  END IF;
  FOR b IN SELECT * FROM backup x WHERE x.source = known AND x.deleted_at IS NULL AND (p_before IS NULL OR x.consistent_at < p_before)
    ORDER BY x.consistent_at DESC, x.id DESC LOOP
    fault := backup_fault(b);
    IF fault IS NULL THEN
      RETURN jsonb_build_object('backup', backup_text(b.id), 'passed_over', passed);
    END IF;
    passed := passed || jsonb_build_object('backup', backup_text(b.id), 'why', fault);
    EXIT WHEN jsonb_array_length(passed) >= 50;
  END LOOP;
  IF passed = '[]' THEN
    RAISE EXCEPTION 'there is no backup of %: holdfast backup list --source %', p_source, p_source USING ERRCODE = 'HF002', DETAIL = 'backup.missing';
  END IF;
  RAISE EXCEPTION 'none of the newest % backups of % is good, the newest because %; name one by its id to restore it all the same',
    jsonb_array_length(passed), p_source, passed -> 0 ->> 'why' USING ERRCODE = 'HF003', DETAIL = 'backup.none_good';
END $$;
REVOKE ALL ON FUNCTION backup_fault, backup_newest_good FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backup_fault, backup_newest_good TO holdfast_scheduler;
