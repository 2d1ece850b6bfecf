#!/usr/bin/env bash
# The same as a normal user, with smaller data. Root becomes `nobody` for it.
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
    echo "this runs as a normal user already: 01 showed it"
    exit 0
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-user.XXXXXX")
trap 'rm -rf "$dir"' EXIT
# What nobody runs must lie where nobody may go.
mkdir -p "$dir/home" "$dir/src"
cp -r deploy "$dir/src/deploy"
mkdir "$dir/src/build"
cp "$HOLDFAST_BUILD"/holdfast "$HOLDFAST_BUILD"/holdfast-worker "$HOLDFAST_BUILD"/holdfast-scheduler "$dir/src/build/"
chown -R nobody "$dir"
chmod 755 "$dir"
cd "$dir/src"
setpriv --reuid=nobody --regid="$(id -gn nobody)" --clear-groups --reset-env \
    env HOME="$dir/home" TMPDIR="$dir" HOLDFAST_BIN="$dir/src/build" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    bash deploy/quickstart --dir "$dir/home/demo" --scale 5 --paths /usr/include
