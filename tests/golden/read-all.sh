#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every repository that was ever released is read by today's program and by the stranger's, to the same
# bytes; the stranger's cannot do it with a writer's file; a repository written now is read alike.
set -euo pipefail
work=$(mktemp -d "${TMPDIR:-/tmp}/hf-read.XXXXXX")
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
# Every path with its sum, so that a difference has a name.
sums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
check() { # check DIRECTORY-OF-A-GOLDEN-REPOSITORY
    local from=$1 name root
    name=$(basename "$from")
    root=$(cat "$from/root")
    cp -r "$from/keys" "$work/keys-$name" && chmod 600 "$work/keys-$name"/*
    "$HOLDFAST_BUILD/holdfast-worker" once restore latest --source tree --store "$from/store" --key-set local \
        --keys "$work/keys-$name" --to "$work/c-$name"
    sums "$work/c-$name/$root" | diff "$from/sums" - || { echo "$name: once restores something else"; exit 1; }
    "$HOLDFAST_BUILD/holdfast-worker" once verify latest --source tree --store "$from/store" --key-set local --keys "$work/keys-$name"
    /usr/bin/python3 tests/golden/read.py "$from/store/local" --kit "$from/keys/local.kit" latest "$work/kit-$name"
    /usr/bin/python3 tests/golden/read.py "$from/store/local" --reader "$from/keys/local.reader" latest "$work/r-$name"
    for by in kit r; do
        sums "$work/$by-$name/$root" | diff "$from/sums" - || { echo "$name: read.py restores something else"; exit 1; }
    done
    # A copy alone gives it back too, and is whole.
    if [ -d "$from/copy" ]; then
        "$HOLDFAST_BUILD/holdfast-worker" once restore latest --source tree --store "$from/copy" --key-set local \
            --keys "$work/keys-$name" --to "$work/copy-$name"
        sums "$work/copy-$name/$root" | diff "$from/sums" - || { echo "$name: the copy restores something else"; exit 1; }
        "$HOLDFAST_BUILD/holdfast-worker" once verify all --store "$from/copy" --key-set local --keys "$work/keys-$name"
        /usr/bin/python3 tests/golden/read.py "$from/copy/local" --reader "$from/keys/local.reader" latest "$work/rc-$name"
        sums "$work/rc-$name/$root" | diff "$from/sums" - || { echo "$name: read.py restores something else from the copy"; exit 1; }
    fi
    [ "$(readlink "$work/r-$name/$root/dangling")" = /nowhere/at/all ]
    [ "$(stat -c %i "$work/r-$name/$root/small/f1")" = "$(stat -c %i "$work/r-$name/$root/small/hard")" ]
    if /usr/bin/python3 tests/golden/read.py "$from/store/local" --reader "$from/keys/local.writer" latest "$work/w-$name" 2>"$work/why"; then
        echo "$name: a writer's file could read"
        exit 1
    fi
    grep -q "a writer's file cannot read" "$work/why"
    rm "$work/keys-$name/local.reader"
    if "$HOLDFAST_BUILD/holdfast-worker" once restore latest --source tree --store "$from/store" --key-set local \
        --keys "$work/keys-$name" --to "$work/cw-$name" 2>/dev/null; then
        echo "$name: once could read with a writer's file"
        exit 1
    fi
    # Without any index the packs themselves say what they hold.
    cp -r "$from/store" "$work/bare-$name" && rm -r "$work/bare-$name/local/index"
    cp "$from/keys/local.reader" "$work/keys-$name/" && chmod 600 "$work/keys-$name/local.reader"
    "$HOLDFAST_BUILD/holdfast-worker" once restore latest --source tree --store "$work/bare-$name" --key-set local \
        --keys "$work/keys-$name" --to "$work/b-$name"
    sums "$work/b-$name/$root" | diff "$from/sums" - || { echo "$name: without an index once restores something else"; exit 1; }
    # One flipped bit in each pack is noticed by both.
    cp -r "$from/store" "$work/flipped-$name" && chmod -R u+w "$work/flipped-$name"
    for pack in "$work/flipped-$name"/local/packs/*/*; do
        printf '\xa5' | dd of="$pack" bs=1 seek=300 conv=notrunc status=none
    done
    if /usr/bin/python3 tests/golden/read.py "$work/flipped-$name/local" --reader "$from/keys/local.reader" latest "$work/f-$name" 2>/dev/null; then
        echo "$name: damage went unseen"
        exit 1
    fi
    echo "$name: read alike by both"
}
for golden in tests/golden/repository-*; do check "$golden"; done
tests/golden/make.sh "$work/now" 2>"$work/make.log" || { cat "$work/make.log"; exit 1; }
check "$work/now"
