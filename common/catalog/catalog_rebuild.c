/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_rebuild.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

enum { PACKS_A_PAGE = 1000 };

static void who_args(Args *args, const Rebuilder *who)
{
    statement_fence(args, &who->fence);
    args_i32(args, (int32_t)who->repository);
}

static void uuids(Args *args, const Uuid *ids, size_t count)
{
    args_array(args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, ids[i].bytes, sizeof ids[i].bytes);
    args_array_end(args);
}

bool catalog_rebuild_begin(Catalog *c, Rebuilder *who, const RebuildPlace *place, uint64_t *known,
                           Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, &who->fence);
    args_text(&args, place->store);
    args_text(&args, place->key_set);
    args_text(&args, place->config.len == 0 ? TEXT("{}") : place->config);
    args_uuid(&args, &place->id);
    args_text(&args, place->what);
    if (!statement_row(c, &asset_sql_rebuild_begin_sql, &args, &rows, err))
        return false;
    who->repository = rows_u32(&rows, 0, 0);
    *known = rows_u64(&rows, 0, 2);
    return true;
}

/* Sets the flags of those that the answer names. */
static void flag_named(const Rows *rows, const Uuid *ids, size_t count, bool *flags)
{
    memset(flags, 0, count * sizeof flags[0]);
    for (size_t i = 0; i < rows_count(rows); i++) {
        Uuid named;
        rows_uuid(rows, i, 0, &named);
        for (size_t n = 0; n < count; n++)
            flags[n] = flags[n] || uuid_equal(&ids[n], &named);
    }
}

bool catalog_rebuild_indexes(Catalog *c, const Rebuilder *who, const Uuid *objects, size_t count,
                             bool *seen, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    uuids(&args, objects, count);
    if (!statement_run(c, &asset_sql_rebuild_indexes_sql, &args, &rows, err))
        return false;
    flag_named(&rows, objects, count, seen);
    return true;
}

#define PACK_COLUMN(args, element, add, value)                                                     \
    do {                                                                                           \
        args_array((args), (element), count);                                                      \
        for (size_t n = 0; n < count; n++) {                                                       \
            const PackRow *pack = &packs[n];                                                       \
            add value;                                                                             \
        }                                                                                          \
        args_array_end(args);                                                                      \
    } while (0)

static void pack_columns(Args *args, const PackRow *packs, size_t count)
{
    PACK_COLUMN(args, ELEMENT_UUID, args_element_bytes, (args, pack->object.bytes, 16));
    PACK_COLUMN(args, ELEMENT_UUID, args_element_bytes, (args, pack->pack.bytes, 16));
    PACK_COLUMN(args, ELEMENT_TEXT, args_element_text,
                (args, pack->kind == PACK_META ? TEXT("meta") : TEXT("data")));
    PACK_COLUMN(args, ELEMENT_I64, args_element_i64, (args, (int64_t)pack->bytes));
    PACK_COLUMN(args, ELEMENT_BYTES, args_element_bytes,
                (args, pack->sha256.bytes, sizeof pack->sha256.bytes));
}

#define CHUNK_COLUMN(args, element, add, value)                                                    \
    do {                                                                                           \
        args_array((args), (element), total);                                                      \
        for (size_t n = 0; n < count; n++)                                                         \
            for (size_t i = 0; i < packs[n].chunk_count; i++) {                                    \
                const ChunkRow *chunk = &packs[n].chunks[i];                                       \
                add value;                                                                         \
            }                                                                                      \
        args_array_end(args);                                                                      \
    } while (0)

static void chunk_columns(Args *args, const PackRow *packs, size_t count)
{
    size_t total = 0;
    for (size_t n = 0; n < count; n++)
        total += packs[n].chunk_count;
    args_array(args, ELEMENT_I32, total);
    for (size_t n = 0; n < count; n++)
        for (size_t i = 0; i < packs[n].chunk_count; i++)
            args_element_i32(args, (int32_t)n + 1);
    args_array_end(args);
    CHUNK_COLUMN(args, ELEMENT_BYTES, args_element_bytes,
                 (args, chunk->id.bytes, sizeof chunk->id.bytes));
    CHUNK_COLUMN(args, ELEMENT_I32, args_element_i32, (args, (int32_t)chunk->ordinal));
    CHUNK_COLUMN(args, ELEMENT_I32, args_element_i32, (args, chunk->codec));
    CHUNK_COLUMN(args, ELEMENT_I64, args_element_i64, (args, (int64_t)chunk->offset));
    CHUNK_COLUMN(args, ELEMENT_I32, args_element_i32, (args, (int32_t)chunk->stored));
    CHUNK_COLUMN(args, ELEMENT_I32, args_element_i32, (args, (int32_t)chunk->plain));
}

bool catalog_rebuild_packs(Catalog *c, const Rebuilder *who, const RebuildIndex *index,
                           const PackRow *packs, size_t count, uint64_t *new_packs,
                           uint64_t *new_chunks, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, uuid_is_nil(&index->object) ? NULL : &index->object);
    args_bytes(&args, index->sha256.bytes, sizeof index->sha256.bytes);
    args_uuid(&args, uuid_is_nil(&index->backup) ? NULL : &index->backup);
    args_bytes(&args, index->signer.at, index->signer.len);
    pack_columns(&args, packs, count);
    chunk_columns(&args, packs, count);
    if (!statement_row(c, &asset_sql_rebuild_packs_sql, &args, &rows, err))
        return false;
    *new_packs = rows_u64(&rows, 0, 0);
    *new_chunks = rows_u64(&rows, 0, 1);
    return true;
}

static void read_pack(const Rows *rows, size_t i, PackRow *row)
{
    *row = (PackRow){.pack_no = rows_u64(rows, i, 0), .bytes = rows_u64(rows, i, 4)};
    rows_uuid(rows, i, 1, &row->object);
    rows_uuid(rows, i, 2, &row->pack);
    row->kind = text_equal(rows_text(rows, i, 3), TEXT("meta")) ? PACK_META : PACK_DATA;
    rows_sha256(rows, i, 5, &row->sha256);
}

bool catalog_rebuild_expected(Catalog *c, const Rebuilder *who, const Uuid *after,
                              const Uuid *until, PackVisit *visit, void *ctx, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    Uuid from = *after;
    do {
        scoped(args_free) Args args = {0};
        who_args(&args, who);
        args_uuid(&args, &from);
        args_uuid(&args, until);
        args_i32(&args, PACKS_A_PAGE);
        if (!statement_run(c, &asset_sql_rebuild_expected_sql, &args, &rows, err))
            return false;
        for (size_t i = 0; i < rows_count(&rows); i++) {
            PackRow row;
            read_pack(&rows, i, &row);
            from = row.object;
            if (!visit(ctx, &row, err))
                return false;
        }
    } while (rows_count(&rows) == PACKS_A_PAGE);
    return true;
}

bool catalog_rebuild_gone(Catalog *c, const Rebuilder *who, const uint64_t *pack_nos, size_t count,
                          Text why, uint64_t *gone, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)pack_nos[i]);
    args_array_end(&args);
    args_text(&args, why);
    if (!statement_row(c, &asset_sql_rebuild_gone_sql, &args, &rows, err))
        return false;
    *gone = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_rebuild_find(Catalog *c, const Rebuilder *who, const ChunkId *ids, size_t count,
                          const Uuid *without, ChunkPlace *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_array(&args, ELEMENT_BYTES, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, ids[i].bytes, sizeof ids[i].bytes);
    args_array_end(&args);
    args_uuid(&args, without);
    if (!statement_run(c, &asset_sql_rebuild_find_sql, &args, &rows, err))
        return false;
    return catalog_pack_places(&rows, ids, count, out, err);
}

bool catalog_rebuild_known(Catalog *c, const Rebuilder *who, const Uuid *backups, size_t count,
                           bool *known, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    uuids(&args, backups, count);
    if (!statement_run(c, &asset_sql_rebuild_known_sql, &args, &rows, err))
        return false;
    flag_named(&rows, backups, count, known);
    return true;
}

bool catalog_rebuild_backups(Catalog *c, const Rebuilder *who, const Uuid *after, size_t most,
                             RebuildKnown *out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, after);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_rebuild_backups_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows) < most ? rows_count(&rows) : most;
    for (size_t i = 0; i < *count; i++) {
        rows_uuid(&rows, i, 0, &out[i].backup);
        rows_sha256(&rows, i, 1, &out[i].manifest);
        out[i].marked = rows_flag(&rows, i, 2);
    }
    return true;
}

bool catalog_rebuild_backup(Catalog *c, const Rebuilder *who, const RebuildBackup *backup,
                            RebuildAnswer *answer, char why[256], Err *err)
{
    static const char *const words[] = {[REBUILD_IMPORTED] = "imported",
                                        [REBUILD_RECOVERED] = "recovered",
                                        [REBUILD_KNOWN] = "known",
                                        [REBUILD_ZOMBIE] = "zombie"};
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, &backup->id);
    args_bytes(&args, backup->manifest.bytes, sizeof backup->manifest.bytes);
    args_bytes(&args, backup->signer.at, backup->signer.len);
    args_uuid(&args, &backup->index);
    args_array(&args, ELEMENT_I64, backup->pack_count);
    for (size_t i = 0; i < backup->pack_count; i++)
        args_element_i64(&args, (int64_t)backup->pack_nos[i]);
    args_array_end(&args);
    args_text(&args, backup->facts);
    if (!statement_row(c, &asset_sql_rebuild_backup_sql, &args, &rows, err))
        return false;
    rows_copy(&rows, 0, 1, why, 256);
    for (RebuildAnswer each = REBUILD_IMPORTED; each <= REBUILD_ZOMBIE; each++)
        if (text_equal(rows_text(&rows, 0, 0), text_of(words[each]))) {
            *answer = each;
            return true;
        }
    return err_set(err, ERR_BUG, "rebuild.answer", "an unknown answer to an import");
}

bool catalog_rebuild_lost(Catalog *c, const Rebuilder *who, const Uuid *backup, Text why,
                          bool *news, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, backup);
    args_text(&args, why);
    if (!statement_row(c, &asset_sql_rebuild_lost_sql, &args, &rows, err))
        return false;
    *news = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_rebuild_dead(Catalog *c, const Rebuilder *who, uint64_t *dead, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    if (!statement_row(c, &asset_sql_rebuild_dead_sql, &args, &rows, err))
        return false;
    *dead = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_rebuild_hold(Catalog *c, const Rebuilder *who, const Uuid *backup, int64_t until_ns,
                          Text reason, bool *news, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, backup);
    args_time(&args, until_ns);
    args_text(&args, reason);
    if (!statement_row(c, &asset_sql_rebuild_hold_sql, &args, &rows, err))
        return false;
    *news = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_rebuild_forgotten(Catalog *c, const Rebuilder *who, const Uuid *backup, bool *had,
                               Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_uuid(&args, backup);
    if (!statement_row(c, &asset_sql_rebuild_forgotten_sql, &args, &rows, err))
        return false;
    *had = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_rebuild_done(Catalog *c, const Rebuilder *who, uint64_t epoch, Text what, Text report,
                          uint64_t *now, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who);
    args_i64(&args, (int64_t)epoch);
    args_text(&args, what);
    args_text(&args, report);
    if (!statement_row(c, &asset_sql_rebuild_done_sql, &args, &rows, err))
        return false;
    *now = rows_u64(&rows, 0, 0);
    return true;
}
