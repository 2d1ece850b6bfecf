-- Who applied a policy, from where and why: with the version, and in the audit log, where every apply
-- said 'scheduler' before.

ALTER TABLE policy_version
  ADD COLUMN via    text DEFAULT nullif(current_setting('holdfast.audit_by', true), '')::jsonb ->> 'via',
  ADD COLUMN reason text DEFAULT nullif(current_setting('holdfast.audit_by', true), '')::jsonb ->> 'reason';

-- What a transaction's caller said of itself (kind, via, ip, reason) stands in each event it causes.
CREATE FUNCTION audit_by() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  said jsonb := nullif(current_setting('holdfast.audit_by', true), '')::jsonb;
BEGIN
  IF said IS NOT NULL THEN
    NEW.actor_kind := coalesce(said ->> 'kind', NEW.actor_kind);
    NEW.via := coalesce(said ->> 'via', NEW.via);
    NEW.client_ip := coalesce(NEW.client_ip, (said ->> 'ip')::inet);
    NEW.reason := coalesce(NEW.reason, said ->> 'reason');
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER audit_said_by BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_by();

CREATE FUNCTION policy_apply_by(p_document text, p_expected text, p_actor text, p_kind text, p_via text, p_ip text, p_reason text)
  RETURNS TABLE (version bigint, changed boolean, added int, updated int, retired int, cancelled int, initial int, digest text)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM set_config('holdfast.audit_by', jsonb_build_object('kind', p_kind, 'via', p_via, 'ip', p_ip, 'reason', p_reason)::text, true);
  RETURN QUERY SELECT * FROM policy_apply(p_document, p_expected, p_actor);
  PERFORM set_config('holdfast.audit_by', '', true); -- whatever else this transaction does is not said by them
END $$;

GRANT EXECUTE ON FUNCTION policy_apply_by TO holdfast_scheduler;
