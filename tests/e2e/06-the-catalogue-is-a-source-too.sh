#!/usr/bin/env bash
# deploy/policies/catalogue.yaml as it is shipped, but for where the catalogue lies: applied, run, restored into
# another database whose schema and settled rows are the catalogue's own.
set -euo pipefail
export HOLDFAST_BIN=$HOLDFAST_BUILD
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-own.XXXXXX")
chmod 755 "$dir"
finish() {
    local status=$?
    deploy/local down --dir "$dir" >/dev/null 2>&1 || true
    [ "$status" = 0 ] || tail -n 20 "$dir"/log/scheduler.log "$dir"/log/worker-*.log || true
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
fail() { echo "$*" >&2; exit 1; }

mkdir -p "$dir/credentials"
(umask 077; head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/credentials/catalogue-backup")
deploy/local up --dir "$dir" --workers 1
. "$dir/env"
export PGPASSFILE="$dir/secrets/pgpass"
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$HOLDFAST_LOCAL_PG_PORT" -U holdfast_admin "$@"; }
sql -d postgres -v "password=$(cat "$dir/credentials/catalogue-backup")" <<'SQL'
CREATE ROLE holdfast_backup LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO holdfast_backup;
SQL

sed -e 's/catalogue\.example\.org/127.0.0.1/' -e "s/port: 5432/port: $HOLDFAST_LOCAL_PG_PORT/" deploy/policies/catalogue.yaml >"$dir/catalogue.yaml"
cat >"$dir/fleet.yaml" <<YAML
version: 1
fleet: own
include: [catalogue.yaml]
defaults: {timezone: UTC, encryption: local}
keys: {local: {}}
stores: {main: {type: local, path: $dir/store}}
YAML
holdfast policy apply "$dir/fleet.yaml"
holdfast source test catalogue
holdfast run catalogue --wait
holdfast run catalogue --wait
sql -d postgres -c "ALTER ROLE holdfast_backup SUPERUSER"
holdfast restore catalogue@latest --to holdfast_copy --yes --wait

# PostgreSQL itself names columns of a view that had no name when it is loaded from a dump.
schema() {
    pg_dump -s --no-owner --no-privileges -h 127.0.0.1 -p "$HOLDFAST_LOCAL_PG_PORT" -U holdfast_admin "$1" |
        grep -v -e '^\\restrict' -e '^\\unrestrict' | sed "s/'::text AS text,/'::text,/"
}
schema holdfast >"$dir/schema"
schema holdfast_copy >"$dir/schema_copy"
diff "$dir/schema" "$dir/schema_copy" || fail "the restored schema differs"
# What was settled when the second backup began: the policy, and the first backup.
settled="SET search_path = holdfast; SELECT s FROM source s; SELECT s FROM store s; SELECT p FROM policy_version p;
SELECT number FROM schema_version ORDER BY 1; SELECT id, manifest_sha256, entries, bytes FROM backup ORDER BY consistent_at LIMIT 1"
sql -d holdfast -c "$settled" >"$dir/rows"
sql -d holdfast_copy -c "$settled" >"$dir/rows_copy"
[ "$(wc -l <"$dir/rows")" -gt 40 ] && diff "$dir/rows" "$dir/rows_copy" || fail "restored rows differ"
[ "$(sql -d holdfast_copy -c "SELECT count(*) FROM holdfast.backup")" = 1 ] || fail "the copy should know one backup"
echo "The catalogue was backed up as a source and restored."
