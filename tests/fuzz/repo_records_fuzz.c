/* SPDX-License-Identifier: Apache-2.0
 * What is inside sealed objects: entry records, manifests, parent lists, index objects. The first
 * byte says which. Whatever a record reader takes is written back as the same bytes. */
#include "common/repo/index.h"
#include "common/repo/manifest.h"
#include "common/repo/object.h"
#include "common/repo/parents.h"
#include "common/repo/record.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

static void try_records(Slice bytes)
{
    Err err = {0};
    Record record = {0};
    CanonReader reader = canon_reader(bytes);
    uint32_t count = canon_read_array(&reader);
    for (uint32_t i = 0; i < count && record_read(&reader, &record, &err); i++)
        if (!record_path_ok(record.entry.path))
            abort();
    record_free(&record);
}

static void try_manifest(Slice bytes)
{
    Err err = {0};
    Manifest manifest;
    if (!manifest_read(bytes, &manifest, &err))
        return;
    CanonReader refs = canon_reader(manifest.refs);
    PageRef ref;
    for (uint32_t i = 0; i < manifest.ref_count; i++)
        if (!pages_read_ref(&refs, &ref))
            abort();
}

static void try_parents(Slice bytes)
{
    Err err = {0};
    Parents *parents = NULL;
    ParentsKey key = {.movable = true};
    ParentsRow row;
    Extent extent;
    uint32_t index;
    if (parents_read(&parents, bytes, &err) && parents_find_moved(parents, &key, &row))
        while (parents_next(parents, &row, &extent, &index))
            continue;
    parents_free(parents);
}

static bool ignore_row(void *ctx, const PackRow *row, Err *err)
{
    (void)ctx;
    (void)row;
    (void)err;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Err err = {0};
    Slice head;
    bool done = false;
    if (size == 0)
        return 0;
    Slice rest = {bytes + 1, size - 1};
    switch (bytes[0] % 5) {
    case 0:
        try_records(rest);
        break;
    case 1:
        try_manifest(rest);
        break;
    case 2:
        try_parents(rest);
        break;
    case 3:
        done = index_read((Slice){rest.at, rest.len / 2},
                          (Slice){rest.at + rest.len / 2, rest.len - rest.len / 2}, ignore_row,
                          NULL, &err);
        break;
    default:
        done = object_head((DiskObject)(1 + rest.len % 7), rest, &head, &err);
    }
    (void)done;
    return 0;
}
