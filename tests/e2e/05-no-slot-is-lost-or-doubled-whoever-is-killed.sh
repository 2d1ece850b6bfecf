#!/usr/bin/env bash
# Two hundred and more slots of ten sources come due while scheduler, Redis, PostgreSQL and workers are
# killed with -9 in turn, and Redis is emptied again and again. Afterwards the catalogue is asked: every
# minute of every source has one job, every job one end, and the invariants of the job machine hold; and
# every backup is read back from the store with its key alone.
# HOLDFAST_TEST_ROUNDS: how often each is killed (1).
set -euo pipefail
export HOLDFAST_BIN=$HOLDFAST_BUILD
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-chaos.XXXXXX")
chmod 755 "$dir"
trap 'deploy/local down --dir "$dir" >/dev/null 2>&1 || true; [ -n "${HOLDFAST_TEST_KEEP:-}" ] || rm -rf "$dir"' EXIT
rounds=${HOLDFAST_TEST_ROUNDS:-1}

sources=
for i in 0 1 2 3 4 5 6 7 8 9; do
    mkdir "$dir/tree$i"
    head -c 3000000 /dev/urandom >"$dir/tree$i/noise"
    cp -r /usr/include/linux/netfilter* "$dir/tree$i/" 2>/dev/null || cp -r /etc/skel "$dir/tree$i/"
    sources+=" t$i: {type: files, policy: minutely, paths: [$dir/tree$i]},"
done
deploy/local up --dir "$dir" --workers 2
. "$dir/env"
cat >"$dir/fleet.yaml" <<YAML
version: 1
fleet: chaos
defaults: {timezone: UTC, encryption: local, retry: {attempts: 5, backoff: 1s, max_backoff: 2s}}
keys: {local: {}}
stores: {main: {type: local, path: $dir/store}}
policies: {minutely: {schedule: "* * * * *", copies: [{store: main}], limits: {rate: 1MiB/s}}}
sources: {${sources%,}}
YAML
holdfast policy apply "$dir/fleet.yaml" >/dev/null

pgbin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
export PGPASSFILE=$dir/secrets/pgpass
sql() { PGOPTIONS='-c search_path=holdfast' "$pgbin/psql" -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$HOLDFAST_LOCAL_PG_PORT" -U holdfast_admin -d holdfast -c "$1"; }
flush() { REDISCLI_AUTH=$(cat "$dir/secrets/redis") redis-cli -p "$HOLDFAST_LOCAL_REDIS_PORT" flushall >/dev/null; }
# Comes back while this worker has a job that it began a moment ago.
at_work() {
    local try
    for ((try = 0; try < 600; try++)); do
        [ -z "$(sql "select 1 from job_attempt a join worker w on w.no = a.worker where w.name = '$1'
            and a.ended_at is null and a.started_at > clock_timestamp() - interval '0.5 seconds'")" ] || return 0
        [ $((try % 50)) != 49 ] || holdfast run --all >/dev/null
        sleep 0.05
    done
    echo "$1 takes no job"
    exit 1
}
# The sources were known for twenty minutes, and nobody was there: that much is owed at once.
sql "update schedule set last_slot = date_trunc('minute', clock_timestamp()) - interval '20 minutes'"

grown=0
for ((round = 0; round < rounds; round++)); do
    for victim in scheduler redis postgres worker-1 worker-2 scheduler; do
        # Complete when they appear: what is written while it is read makes a partial backup, rightly.
        for tree in "$dir"/tree?; do
            head -c 1000000 /dev/urandom >"$dir/new"
            mv "$dir/new" "$tree/new.$round.$((++grown))"
        done
        holdfast run --all >/dev/null # each takes some seconds, at this rate
        for ((i = 0; i < 3; i++)); do flush; sleep 0.4; done
        case $victim in worker-*) at_work "local-${victim#worker-}" ;; esac
        kill -9 "$(head -1 "$dir/run/$victim.pid")"
        echo "killed $victim; $(find "$dir/store/local/packs" -type f | wc -l) packs"
        deploy/local up --dir "$dir" --workers 2 >/dev/null
    done
done
for ((i = 0; i < 600; i++)); do
    open=$(sql "select count(*) from job where state in ('pending', 'queued', 'running')")
    # The next minute makes new ones: the end is a moment without any, not a time.
    [ "$open" != 0 ] || break
    sleep 0.2
done
sql "select state, count(*), max(attempt) as most_attempts, sum(losses) as losses from job group by 1 order by 1"

stuck() { # what the jobs that did not end are at, and where each thread of ours stands
    local thread
    sql "select j.id, j.state, j.attempt, j.failures, j.losses, w.name, l.phase, l.moved_at, l.expires_at, clock_timestamp() from job j
        left join lease l on l.job = j.id left join worker w on w.no = l.worker where j.finished_at is null"
    sql "select g.job, g.at, g.event, g.text from job_log g join job j on j.id = g.job where j.state = 'running' order by g.at"
    sql "select pid, application_name, state, wait_event, clock_timestamp() - query_start, left(query, 100) from pg_stat_activity where datname = 'holdfast'"
    tail -n 15 "$dir"/log/worker-*.log "$dir/log/scheduler.log"
    for pid in $(pgrep -f "$HOLDFAST_BUILD/holdfast-|$dir"); do
        echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-120)"
        for thread in /proc/"$pid"/task/*; do echo "  $(cat "$thread/comm" "$thread/wchan" "$thread/syscall" 2>/dev/null | tr '\n' ' ')"; done
        ! command -v gdb >/dev/null || gdb -p "$pid" -batch -ex 'thread apply all bt 12' 2>/dev/null | grep '^#\|^Thread' || true
    done
}

holds() { # holds WHAT SQL: the query finds nothing
    local found
    found=$(sql "$2")
    [ -z "$found" ] && { echo "holds: $1"; return; }
    printf 'does not hold: %s\n%s\n' "$1" "$found"
    exit 1
}
[ "$open" = 0 ] || { echo "$open jobs never ended"; stuck; exit 1; }
holds "every minute of every source has a job" "select source, min(slot), max(slot), count(*) from job where slot is not null
    group by 1 having count(*) <> extract(epoch from max(slot) - min(slot)) / 60 + 1 or count(*) < 20"
holds "every job ended well, or says why it did not run" "select id, state, failures, losses, error from job where state not in ('completed', 'missed', 'skipped')"
[ "$(sql "select count(*) from job_attempt where outcome = 'lost'")" -gt 0 ] || { echo "nobody was killed at work: this showed nothing"; exit 1; }
holds "what did not run has a decision that says why" "select id, state from job j where state in ('missed', 'skipped')
    and not exists (select from decision d where d.job = j.id and d.verdict = j.state)"
holds "the audit log's chain is whole" "select * from audit_breaks"

# Whoever commits writes the marker next; what was killed between the two is owed until the next backup.
holdfast run t0 --follow >/dev/null
deploy/local down --dir "$dir" >/dev/null
deploy/local up --dir "$dir" --workers 0 >/dev/null # nobody works any more
holdfast backup list --limit 1000 --json | jq -r '.[].id' | sort >"$dir/catalogued"
"$HOLDFAST_BUILD/holdfast-worker" once list --store "$dir/store" --key-set local --keys "$dir/keys" --json | jq -r "select(.marked) | .backup" | sort >"$dir/stored"
diff "$dir/catalogued" "$dir/stored" || {
    echo "does not hold: the store and the catalogue know the same backups"
    sql "select 'unmarked', b.job, b.attempt, b.committed_at, w.name from backup b join job_attempt a using (job, attempt)
        join worker w on w.no = a.worker where b.marker_at is null"
    grep -h 'job.fenced\|worker.drain' "$dir"/log/worker-*.log | tail -5
    exit 1
}
echo "holds: the store and the catalogue know the same backups"
REDISCLI_AUTH=$(cat "$dir/secrets/redis") python3 -B tests/harness/invariants.py --redis "127.0.0.1:$HOLDFAST_LOCAL_REDIS_PORT" --running \
    --catalogue "host=127.0.0.1 port=$HOLDFAST_LOCAL_PG_PORT user=holdfast_admin dbname=holdfast" --store "$dir/store" --keys "$dir/keys" \
    --worker "$HOLDFAST_BUILD/holdfast-worker"
"$HOLDFAST_BUILD/holdfast-worker" once restore latest --source t7 --store "$dir/store" --key-set local --keys "$dir/keys" --to "$dir/out" >/dev/null
diff -r -x "new.*" "$dir/tree7" "$dir/out$dir/tree7"
echo "holds: $(wc -l <"$dir/stored") backups are whole, and the newest is equal to its source"
