/* SPDX-License-Identifier: Apache-2.0
 * Every record inside the objects of a repository: roots, pages, parent lists, index heads. */
#include "common/repo/index.h"
#include "common/repo/manifest.h"
#include "common/repo/parents.h"
#include "common/repo/record.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

static bool take_pack(void *ctx, const PackRow *row, Err *err)
{
    (void)err;
    *(size_t *)ctx += row->chunk_count;
    return true;
}

static void leaf(Slice bytes)
{
    Err err = {0};
    Record record = {0};
    CanonReader r = canon_reader(bytes);
    uint32_t count = canon_read_array(&r);
    for (uint32_t i = 0; i < count && record_read(&r, &record, &err); i++)
        if (!record_path_ok(record.entry.path))
            abort();
    record_free(&record);
}

static void parents(Slice bytes)
{
    Err err = {0};
    Parents *list;
    ParentsKey key = {.bytes = {1}};
    ParentsRow row;
    Extent extent;
    uint32_t index;
    if (!parents_read(&list, bytes, &err))
        return;
    if (parents_find(list, &key, &row))
        while (parents_next(list, &row, &extent, &index))
            if (index != IDMAP_NONE && index >= parents_ids(list)->count)
                abort();
    parents_free(list);
}

/* The first byte says as what the rest is read. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Err err = {0};
    Manifest manifest;
    size_t chunks = 0;
    if (size == 0)
        return 0;
    Slice rest = {bytes + 1, size - 1};
    if (bytes[0] == 0 && manifest_read(rest, &manifest, &err))
        return 0;
    if (bytes[0] == 1)
        leaf(rest);
    if (bytes[0] == 2)
        parents(rest);
    if (bytes[0] == 3 && !index_read(rest, (Slice){0}, take_pack, &chunks, &err) &&
        err.code == ERR_NONE)
        abort();
    return 0;
}
