-- Who may execute and read what. Nothing is PUBLIC's; a worker touches no table.
GRANT EXECUTE ON FUNCTION worker_hello, worker_pools, worker_bye, worker_beat, job_claim, job_finish, job_held, job_log_add,
  job_answer_set, repository_bind, pack_begin, pack_stage, chunk_lookup, chunk_find, pack_adopt, pack_staged, pack_of_backup,
  pack_damaged, backup_commit, marker_done, markers_due, backup_open, verification_add TO holdfast_worker;
GRANT EXECUTE ON FUNCTION pack_verified TO holdfast_reader;

GRANT EXECUTE ON FUNCTION setting_of, need_read_committed, need_values, worker_serves, decide, pool_named, credentials_in, job_missing,
  job_scopes, attempt_end, backoff, job_end, limit_resize, job_new, source_retire, schedules_apply, policy_apply, source_pause,
  job_create, job_cancel, job_retry, slots_fire, jobs_overdue, job_nobody, decide_seldom, dispatch_pick, requeue, reap, leader_take,
  housekeep, audit_chain, audit_digest TO holdfast_scheduler;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO holdfast_scheduler;
GRANT INSERT, UPDATE, DELETE ON setting, pool, policy_version, store, repository, source, schedule, job, lease, job_attempt, limit_slot,
  limit_wanted, job_log, job_answer, decision, event, leader, reaper, session, token, idempotency TO holdfast_scheduler;
GRANT UPDATE (drain) ON worker TO holdfast_scheduler;
GRANT UPDATE (bye_at) ON worker_instance TO holdfast_scheduler;
GRANT UPDATE (expires_at, held_until, held_reason, locked_until, deleted_at) ON backup TO holdfast_scheduler;
GRANT UPDATE (reviewed_by, reviewed_at) ON verification TO holdfast_scheduler;
GRANT INSERT ON audit_event, audit_anchor TO holdfast_scheduler;
