-- A repack goes on until little of what is kept is unused. Half-dead packs are always taken, as before; after them the
-- deadest first, until the unused share of all packs that backups name is at most repack_max_unused. A pack of which
-- next to nothing is dead is never worth it. All within the budget of a run: the next one goes on.
INSERT INTO setting VALUES
  ('repack_max_unused', 0.05, 'share of the packs that backups name which may be unused: until then a repack takes the deadest first'),
  ('repack_least', 0.02, 'share: a pack of which less than this is needed by nobody is never packed anew, unless repack_share asks for it');

-- Counted on another scale, without the directory of the pack, which seemed to be dead: they are looked at again.
UPDATE pack SET looked_at = NULL, needed_bytes = NULL WHERE needed_bytes <> bytes AND state = 'live';

-- The live packs that backups name. may: their own backup is gone, so that some of it may be dead; dead: what was at the
-- last look. worth: a repack that has the choice of p_among (NULL: of all) takes it. What was let go since the last
-- look is not counted yet, and what was shared since is counted still: those that are taken are looked at first.
CREATE FUNCTION repack_there(p_repository int, p_among bigint[])
  RETURNS TABLE (no bigint, bytes bigint, dead bigint, may boolean, looked_at timestamptz, share double precision, worth boolean)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  WITH used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(p_repository) u),
    lim AS MATERIALIZED (SELECT setting_of('repack_share') AS half, setting_of('repack_least') AS least, setting_of('repack_max_unused') AS most),
    packs AS MATERIALIZED (SELECT p.no, p.bytes, p.needed_bytes, p.looked_at, p.damaged_at IS NULL AND p.sha256 IS NOT NULL
        AND NOT EXISTS (SELECT FROM backup b WHERE b.job = p.job AND b.deleted_at IS NULL AND b.left_at IS NULL)
        AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = p.repository AND c.job = p.job AND c.deleted_at IS NULL) AS may
      FROM pack p JOIN used u ON u.no = p.no WHERE p.repository = p_repository AND p.state = 'live'),
    counted AS MATERIALIZED (SELECT k.*, CASE WHEN k.may THEN greatest(k.bytes - coalesce(k.needed_bytes, k.bytes), 0) ELSE 0 END AS dead FROM packs k),
    shares AS (SELECT c.*, coalesce(c.dead::double precision / nullif(c.bytes, 0), 0) AS share FROM counted c),
    total AS MATERIALIZED (SELECT coalesce(sum(c.bytes), 0) AS bytes, coalesce(sum(c.dead), 0) AS dead FROM counted c),
    ranked AS (SELECT x.no, coalesce(sum(x.dead) OVER (ORDER BY x.share DESC, x.no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS taken
      FROM shares x WHERE x.dead > 0 AND (p_among IS NULL OR x.no IN (SELECT unnest(p_among))))
    SELECT x.no, x.bytes, x.dead, x.may, x.looked_at, x.share, coalesce(r.no IS NOT NULL AND (x.share >= l.half
        OR (x.share >= l.least AND t.dead - r.taken > l.most * (t.bytes - r.taken))), false)
      FROM shares x CROSS JOIN lim l CROSS JOIN total t LEFT JOIN ranked r ON r.no = x.no $$;

-- Packs to look into, as many as the budget takes: first those that are known to be worth it, the deadest first, then
-- those that may be, by when they were looked at last: else a fleet that lets a backup go each day would look into the
-- same lowest ones each time. p_all: those too of which nothing was let go since. (share is for workers of before.)
CREATE OR REPLACE FUNCTION repack_pick(p_job bigint, p_attempt bigint, p_claim uuid, p_all boolean, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea, domain int, share double precision)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_all, p_most), 'repack_pick');
  RETURN QUERY WITH let_go AS MATERIALIZED (
      SELECT u.no, max(b.gone_at) AS at FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no)
        WHERE b.repository = s.repository AND b.gone_at > (SELECT min(p.looked_at) FROM pack p WHERE p.repository = s.repository AND p.state = 'live')
        GROUP BY u.no),
    candidate AS (SELECT t.no, t.bytes, row_number() OVER (ORDER BY NOT t.worth, CASE WHEN t.worth THEN t.share END DESC, t.looked_at NULLS FIRST, t.no) AS turn
      FROM repack_there(s.repository, NULL) t LEFT JOIN let_go l ON l.no = t.no
      WHERE t.may AND (p_all OR t.worth OR t.looked_at IS NULL OR l.at > t.looked_at)),
    budgeted AS (SELECT c.no, c.turn, sum(c.bytes) OVER (ORDER BY c.turn) - c.bytes AS before FROM candidate c)
    SELECT p.no, p.object, p.pack, p.kind, p.bytes, p.sha256, p.domain, setting_of('repack_share') FROM (
      SELECT x.no FROM budgeted x WHERE x.before < setting_of('repack_bytes') ORDER BY x.turn LIMIT p_most) c
      JOIN pack p ON p.no = c.no ORDER BY p.domain, p.kind, p.no;
END $$;

-- Of packs that were looked at just now: which to pack anew.
CREATE FUNCTION repack_take(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[]) RETURNS TABLE (no bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_nos), 'repack_take');
  RETURN QUERY SELECT t.no FROM repack_there(s.repository, p_nos) t WHERE t.worth ORDER BY t.no;
END $$;

-- As before; and what is known to be unused in the packs that backups name, and what a repack would take of it: as much
-- as the budget of one run.
DROP FUNCTION repack_look(bigint, bigint, uuid);
CREATE FUNCTION repack_look(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (candidates bigint, candidate_bytes bigint, half_dead bigint, frees bigint, named_bytes bigint, unused_bytes bigint,
    takes bigint, take_frees bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  budget double precision := setting_of('repack_bytes');
  half double precision := setting_of('repack_share');
BEGIN
  RETURN QUERY SELECT count(*) FILTER (WHERE x.may), coalesce(sum(x.bytes) FILTER (WHERE x.may), 0)::bigint,
      count(*) FILTER (WHERE x.dead > 0 AND x.share >= half), coalesce(sum(x.dead) FILTER (WHERE x.dead > 0 AND x.share >= half), 0)::bigint,
      coalesce(sum(x.bytes), 0)::bigint, coalesce(sum(x.dead), 0)::bigint,
      count(*) FILTER (WHERE x.worth AND x.before < budget), coalesce(sum(x.dead) FILTER (WHERE x.worth AND x.before < budget), 0)::bigint
    FROM (SELECT t.*, sum(t.bytes) OVER (ORDER BY NOT t.worth, t.share DESC, t.no) - t.bytes AS before FROM repack_there(s.repository, NULL) t) x;
END $$;
REVOKE ALL ON FUNCTION repack_there, repack_take, repack_look FROM PUBLIC;
GRANT EXECUTE ON FUNCTION repack_take, repack_look TO holdfast_pruner;
