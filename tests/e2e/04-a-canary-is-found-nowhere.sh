#!/usr/bin/env bash
# A text that stands in a backed-up file, in its name, in a table and in the database's password is in no
# store object, in nothing Redis keeps, in no log, and in no process's arguments or environment.
set -euo pipefail
export HOLDFAST_BIN=$HOLDFAST_BUILD
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-canary.XXXXXX")
chmod 755 "$dir"
watcher=
trap '[ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true; deploy/local down --dir "$dir" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
content=canary-content-7f3a9d name=canary-name-51bb02 secret=canary-secret-c4e8d6
mkdir -p "$dir/tree" "$dir/credentials"
(umask 077; printf '%s' "$secret" >"$dir/credentials/shop")
for i in $(seq 200); do echo "$content $i" >"$dir/tree/$name-$i.txt"; done
head -c 8M /dev/urandom >"$dir/tree/big"
deploy/local up --dir "$dir" --workers 1
. "$dir/env"
export PGPASSFILE="$dir/secrets/pgpass"
pgbin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
# The servers' own logs would quote this statement, which is ours and not Holdfast's.
"$pgbin/psql" -X -q -h 127.0.0.1 -p "$HOLDFAST_LOCAL_PG_PORT" -U holdfast_admin -d postgres -v ON_ERROR_STOP=1 <<SQL
set password_encryption = 'scram-sha-256';
create role shop login superuser password '$secret';
create database shop owner shop;
\c shop
create table notes as select g, '$content' as text from generate_series(1, 50000) g;
SQL
cat >"$dir/fleet.yaml" <<YAML
version: 1
fleet: canary
defaults: {timezone: UTC, encryption: local, retry: {attempts: 1}}
keys: {local: {}}
stores: {main: {type: local, path: $dir/store}}
policies: {p: {schedule: "0 0 1 1 *", copies: [{store: main}], limits: {rate: 4MiB/s}}}
sources:
  tree: {type: files, policy: p, paths: [$dir/tree]}
  shop: {type: postgresql, policy: p, host: 127.0.0.1, port: $HOLDFAST_LOCAL_PG_PORT, user: shop,
         password: {credential: shop}, databases: [shop]}
YAML
holdfast policy apply "$dir/fleet.yaml"

# Arguments and environments of every process of this installation, again and again while it works.
watch_processes() {
    local pid
    while :; do
        for pid in $(pgrep -f "$dir|$HOLDFAST_BUILD|pg_dump|pg_restore|psql" || true); do
            { tr '\0' '\n' <"/proc/$pid/cmdline"; tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null || true
        done >>"$dir/seen"
        sleep 0.02
    done
}
watch_processes &
watcher=$!
holdfast run tree --follow
holdfast run shop --follow
holdfast restore tree@latest --to "$dir/restore/t" --yes --follow
holdfast restore shop@latest --to shop_copy --yes --follow
holdfast source test shop
kill "$watcher"
watcher=
diff -r "$dir/tree" "$dir/restore/t$dir/tree"

[ "$(wc -l <"$dir/seen")" -gt 1000 ] || { echo "the watcher saw nothing"; exit 1; }
REDISCLI_AUTH=$(cat "$dir/secrets/redis") redis-cli -p "$HOLDFAST_LOCAL_REDIS_PORT" save >/dev/null
redis_files=$(find "$dir/redis" -type f ! -name redis.conf)
failed=0
seek() { # seek WHAT TEXT FILES...
    local what=$1 text=$2
    shift 2
    if grep -rlaF -- "$text" "$@"; then echo "$what: $text was found there"; failed=1; fi
}
for text in "$content" "$name" "$secret"; do
    seek store "$text" "$dir/store"
    seek redis "$text" $redis_files
    seek "arguments and environments" "$text" "$dir/seen"
done
seek log "$content" "$dir/log"
seek log "$secret" "$dir/log"
# Of the catalogue: what a worker could be told, and what an API answer could show.
"$pgbin/pg_dump" -h 127.0.0.1 -p "$HOLDFAST_LOCAL_PG_PORT" -U holdfast_admin holdfast >"$dir/catalogue.sql"
seek catalogue "$content" "$dir/catalogue.sql"
seek catalogue "$secret" "$dir/catalogue.sql"
REDISCLI_AUTH=$(cat "$dir/secrets/redis") python3 -B tests/harness/invariants.py --redis "127.0.0.1:$HOLDFAST_LOCAL_REDIS_PORT" --wait 60 \
    --catalogue "host=127.0.0.1 port=$HOLDFAST_LOCAL_PG_PORT user=holdfast_admin dbname=holdfast" --store "$dir/store" --keys "$dir/keys" \
    --worker "$HOLDFAST_BUILD/holdfast-worker" --tree "tree=$dir/tree" || failed=1
exit $failed
