#!/usr/bin/env bash
# slow
# kill -9 of worker and child at about 60 % of a backup that stores over 2 GiB: the other worker
# finishes and writes under 5 % of the stored bytes again, counted from pack files. With short timers;
# HOLDFAST_LOCAL_TIMERS='{}' runs it with the defaults (a dead worker is then noticed within 80 s).
set -euo pipefail
export HOLDFAST_BIN=$HOLDFAST_BUILD
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-kill.XXXXXX")
chmod 755 "$dir"
trap 'deploy/local down --dir "$dir" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
mib=${HOLDFAST_TEST_MIB:-2200}
mkdir "$dir/tree"
for i in 1 2 3 4; do # bytes that do not shrink, the same in every run
    { openssl enc -aes-128-ctr -K "0000000000000000000000000000000$i" -iv 0 -in /dev/zero 2>/dev/null || true; } |
        head -c $((mib / 4))M >"$dir/tree/part$i"
done
deploy/local up --dir "$dir" --workers 2
. "$dir/env"
cat >"$dir/fleet.yaml" <<YAML
version: 1
fleet: kill
defaults: {timezone: UTC, encryption: local, retry: {attempts: 3, backoff: 2s, max_backoff: 10s}}
keys: {local: {}}
stores: {main: {type: local, path: $dir/store}}
policies: {once: {schedule: "0 0 1 1 *", copies: [{store: main}], limits: {rate: 200MiB/s}}}
sources: {tree: {type: files, policy: once, paths: [$dir/tree]}}
YAML
holdfast policy apply "$dir/fleet.yaml"
job=$(holdfast run tree --json | jq -r '.[0].id')
field() { holdfast job show "$job" --json | jq -r "$1"; }
packs() { { find "$dir/store/local/packs" -type f -printf '%s\n' 2>/dev/null || true; } | awk '{ s += $1 } END { printf "%.0f", s }'; }
until [ "$(field '.progress.stored // 0')" -gt $((mib * 1048576 * 6 / 10)) ]; do
    [ "$(field .state)" != completed ] || { echo "over before it could be killed"; exit 1; }
    sleep 0.05
done
victim=$(field .worker)
pid=$(head -1 "$dir/run/worker-${victim#local-}.pid")
kill -9 "$pid" $(pgrep -P "$pid" || true)
before=$(packs)
echo "killed $victim with $((before >> 20)) MiB in packs"
holdfast job follow "$job"
after=$(packs)
need=$((mib * 1048576))
again=$((after - need))
echo "packs hold $((after >> 20)) MiB for $mib MiB: $((again >> 20)) MiB written again, $((again * 1000 / need)) per mille"
[ "$(field .attempt)" = 2 ] && [ "$(field .worker)" != "$victim" ]
[ "$again" -lt $((need / 20)) ] || { echo "over 5 % was written again"; exit 1; }
holdfast restore tree@latest --to "$dir/restore/t" --yes --follow
diff -r "$dir/tree" "$dir/restore/t$dir/tree"
