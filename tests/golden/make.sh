#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a golden repository with today's programs: tests/golden/make.sh DIRECTORY. Run once a release that
# changes a format; what is committed is never made again, so that every version stays readable.
# store/ has seen a backup go and its packs be collected; copy/ is the copy of what was left.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
export HOLDFAST_BIN=${HOLDFAST_BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-golden.XXXXXX")
chmod 755 "$dir"
trap 'deploy/local down --dir "$dir" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
tree=$dir/tree
mkdir -p "$tree/empty" "$tree/deep/er/still" "$tree/small"
yes 'a line that repeats' | head -c 3000000 >"$tree/repeats" || true
for i in $(seq 60); do echo "small file $i" >"$tree/small/f$i"; done
printf 'quote' >"$tree/it's \"quoted\"; \$(id) \`id\`"
printf 'newline' >"$tree/two"$'\n'"lines"
printf 'bytes' >"$tree/not-utf8-"$'\xff\xfe'
printf 'long' >"$tree/$(printf 'n%.0s' $(seq 255))"
truncate -s 9000000 "$tree/sparse" && printf 'end' >>"$tree/sparse"
openssl enc -aes-128-ctr -K 00000000000000000000000000000009 -iv 0 -in /dev/zero 2>/dev/null | head -c 90000 >"$tree/deep/er/still/random" || true
ln "$tree/small/f1" "$tree/small/hard"
ln -s ../small/f2 "$tree/deep/link"
ln -s /nowhere/at/all "$tree/dangling"
find "$tree" -exec touch -h -d 2026-01-02T03:04:05.678901234Z {} +
deploy/local up --dir "$dir" --workers 1 >&2
. "$dir/env"
mkdir "$dir/copy"
"$HOLDFAST_BIN/holdfast-worker" repo create local --store "$dir/copy" --kit "$dir/keys/local.kit" --keys "$dir/keys/local.keys" >&2
sed -i 's/stores: \[main\]/stores: [main, copy]/' "$dir/worker-1.yaml"
kill -HUP "$(cat "$dir/run/worker-1.pid")"
cat >"$dir/fleet.yaml" <<YAML
version: 1
fleet: golden
defaults: {timezone: UTC, encryption: local}
keys: {local: {}}
stores: {main: {type: local, path: $dir/store}, copy: {type: local, path: $dir/copy}}
policies: {p: {schedule: "0 0 1 1 *", copies: [{store: main}, {store: copy}]}}
sources: {tree: {type: files, policy: p, paths: [$tree]}}
YAML
holdfast policy apply "$dir/fleet.yaml" >&2
holdfast run tree --wait -q
echo 'changed later' >"$tree/small/f3"
touch -d 2026-02-03T04:05:06Z "$tree/small/f3"
holdfast run tree --wait -q
echo 'changed again' >"$tree/small/f4"
touch -d 2026-03-04T05:06:07Z "$tree/small/f4"
holdfast run tree --wait -q
oldest=$(holdfast backup list --source tree --json | jq -r '.[-1].id')
holdfast backup delete "$oldest" --reason 'it is not needed' --wait -q
holdfast prune main --reason 'more than half of so small a repository goes' --wait -q
holdfast backup copy tree@latest --to copy --wait -q || true # its own job may have been quicker
until holdfast backup show tree@latest --json | jq -e '.copies[] | select(.store == "copy") | .marked' >/dev/null; do sleep 0.3; done
mkdir -p "$out/store" "$out/copy" "$out/keys"
cp -r "$dir/store/local" "$out/store/local"
cp -r "$dir/copy/local" "$out/copy/local"
cp "$dir"/keys/local.* "$out/keys/"
chmod -R u+rwX,go+rX "$out"
printf '%s\n' "${tree#/}" >"$out/root"
(cd "$tree" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$out/sums"
