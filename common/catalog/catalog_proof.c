/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_proof.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

void catalog_proofs_free(Proofs *proofs)
{
    mem_free(proofs->checks);
    mem_free(proofs->packs);
    buf_free(&proofs->text);
    *proofs = (Proofs){0};
}

bool catalog_proofs_last(Catalog *c, const Fence *fence, Uuid *object, Sha256 *sha256, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_proofs_last_sql, &args, &rows, err))
        return false;
    rows_uuid(&rows, 0, 0, object);
    rows_sha256(&rows, 0, 1, sha256);
    return true;
}

/* --- what is not told yet ------------------------------------------------------------------- */

/* Behind the text that is there; the buffer has room for it. */
static Text keep(Buf *text, Text value)
{
    const char *at = (const char *)text->at + text->len;
    buf_add_slice(text, slice_of_text(value));
    return (Text){at, value.len};
}

static size_t lengths(const Rows *rows, const int *columns, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < rows_count(rows); i++)
        for (size_t n = 0; n < count; n++)
            sum += rows_text(rows, i, columns[n]).len;
    return sum;
}

static void take_checks(const Rows *rows, Proofs *out)
{
    out->check_count = rows_count(rows);
    out->checks = mem_array(ProofCheck, out->check_count);
    for (size_t i = 0; i < out->check_count; i++) {
        ProofCheck *row = &out->checks[i];
        row->id = rows_u64(rows, i, 0);
        rows_uuid(rows, i, 1, &row->backup);
        row->level = keep(&out->text, rows_text(rows, i, 2));
        row->result = keep(&out->text, rows_text(rows, i, 3));
        row->started_ns = rows_time(rows, i, 4);
        row->finished_ns = rows_time(rows, i, 5);
        row->worker = keep(&out->text, rows_text(rows, i, 6));
        row->host = keep(&out->text, rows_text(rows, i, 7));
        row->checks = keep(&out->text, rows_text(rows, i, 8));
    }
}

static void take_packs(const Rows *rows, Proofs *out)
{
    out->pack_count = rows_count(rows);
    out->packs = mem_array(ProofPack, out->pack_count);
    for (size_t i = 0; i < out->pack_count; i++) {
        ProofPack *row = &out->packs[i];
        row->pack_no = rows_u64(rows, i, 0);
        rows_uuid(rows, i, 1, &row->object);
        rows_sha256(rows, i, 2, &row->sha256);
        row->verified_ns = rows_time(rows, i, 3);
        row->checked_ns = rows_time(rows, i, 4);
        row->damaged_ns = rows_time(rows, i, 5);
        row->damage = keep(&out->text, rows_text(rows, i, 6));
    }
}

static bool ask(Catalog *c, const Asset *sql, const Fence *fence, size_t most, Rows *rows, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)most);
    return statement_run(c, sql, &args, rows, err);
}

bool catalog_proofs(Catalog *c, const Fence *fence, size_t most_checks, size_t most_packs,
                    Proofs *out, Err *err)
{
    static const int of_check[] = {2, 3, 6, 7, 8}, of_pack[] = {6};
    scoped(rows_free) Rows checks = {0};
    scoped(rows_free) Rows packs = {0};
    *out = (Proofs){0};
    if (!ask(c, &asset_sql_proofs_checks_sql, fence, most_checks, &checks, err) ||
        !ask(c, &asset_sql_proofs_packs_sql, fence, most_packs, &packs, err))
        return false;
    buf_reserve(&out->text, 1 + lengths(&checks, of_check, 5) + lengths(&packs, of_pack, 1));
    take_checks(&checks, out);
    take_packs(&packs, out);
    return true;
}

static int64_t newest(const ProofPack *row)
{
    int64_t at = row->verified_ns > row->checked_ns ? row->verified_ns : row->checked_ns;
    return at > row->damaged_ns ? at : row->damaged_ns;
}

bool catalog_proofs_told(Catalog *c, const Fence *fence, const Uuid *object, const Sha256 *sha256,
                         const Proofs *told, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, object);
    args_bytes(&args, sha256->bytes, sizeof sha256->bytes);
    args_array(&args, ELEMENT_I64, told->check_count);
    for (size_t i = 0; i < told->check_count; i++)
        args_element_i64(&args, (int64_t)told->checks[i].id);
    args_array_end(&args);
    args_array(&args, ELEMENT_I64, told->pack_count);
    for (size_t i = 0; i < told->pack_count; i++)
        args_element_i64(&args, (int64_t)told->packs[i].pack_no);
    args_array_end(&args);
    args_array(&args, ELEMENT_TIME, told->pack_count);
    for (size_t i = 0; i < told->pack_count; i++)
        args_element_time(&args, newest(&told->packs[i]));
    args_array_end(&args);
    return statement_run(c, &asset_sql_proofs_told_sql, &args, NULL, err);
}

/* --- told again ----------------------------------------------------------------------------- */

static void who_args(Args *args, const Rebuilder *who, const Uuid *object)
{
    statement_fence(args, &who->fence);
    args_i32(args, (int32_t)who->repository);
    args_uuid(args, object);
}

static void texts(Args *args, const Proofs *said, size_t offset)
{
    args_array(args, ELEMENT_TEXT, said->check_count);
    for (size_t i = 0; i < said->check_count; i++)
        args_element_text(args, *(const Text *)((const char *)&said->checks[i] + offset));
    args_array_end(args);
}

static void check_times(Args *args, const Proofs *said, size_t offset)
{
    args_array(args, ELEMENT_TIME, said->check_count);
    for (size_t i = 0; i < said->check_count; i++)
        args_element_time(args, *(const int64_t *)((const char *)&said->checks[i] + offset));
    args_array_end(args);
}

static void pack_times(Args *args, const Proofs *said, size_t offset)
{
    args_array(args, ELEMENT_TIME, said->pack_count);
    for (size_t i = 0; i < said->pack_count; i++)
        args_element_time(args, *(const int64_t *)((const char *)&said->packs[i] + offset));
    args_array_end(args);
}

static bool tell_checks(Catalog *c, const Rebuilder *who, const Uuid *object, const Proofs *said,
                        ProofsBack *back, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who, object);
    args_array(&args, ELEMENT_UUID, said->check_count);
    for (size_t i = 0; i < said->check_count; i++)
        args_element_bytes(&args, said->checks[i].backup.bytes, sizeof(Uuid));
    args_array_end(&args);
    texts(&args, said, offsetof(ProofCheck, level));
    texts(&args, said, offsetof(ProofCheck, result));
    check_times(&args, said, offsetof(ProofCheck, started_ns));
    check_times(&args, said, offsetof(ProofCheck, finished_ns));
    texts(&args, said, offsetof(ProofCheck, worker));
    texts(&args, said, offsetof(ProofCheck, host));
    texts(&args, said, offsetof(ProofCheck, checks));
    if (!statement_row(c, &asset_sql_rebuild_checks_sql, &args, &rows, err))
        return false;
    back->checks = rows_u64(&rows, 0, 0);
    return true;
}

static bool tell_packs(Catalog *c, const Rebuilder *who, const Uuid *object, const Sha256 *sha256,
                       const Proofs *said, ProofsBack *back, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    who_args(&args, who, object);
    args_bytes(&args, sha256->bytes, sizeof sha256->bytes);
    args_array(&args, ELEMENT_UUID, said->pack_count);
    for (size_t i = 0; i < said->pack_count; i++)
        args_element_bytes(&args, said->packs[i].object.bytes, sizeof(Uuid));
    args_array_end(&args);
    args_array(&args, ELEMENT_BYTES, said->pack_count);
    for (size_t i = 0; i < said->pack_count; i++)
        args_element_bytes(&args, said->packs[i].sha256.bytes, sizeof(Sha256));
    args_array_end(&args);
    pack_times(&args, said, offsetof(ProofPack, verified_ns));
    pack_times(&args, said, offsetof(ProofPack, checked_ns));
    pack_times(&args, said, offsetof(ProofPack, damaged_ns));
    args_array(&args, ELEMENT_TEXT, said->pack_count);
    for (size_t i = 0; i < said->pack_count; i++)
        args_element_text(&args, said->packs[i].damage);
    args_array_end(&args);
    if (!statement_row(c, &asset_sql_rebuild_proven_sql, &args, &rows, err))
        return false;
    back->proven = rows_u64(&rows, 0, 0);
    back->damaged = rows_u64(&rows, 0, 1);
    return true;
}

bool catalog_rebuild_proofs(Catalog *c, const Rebuilder *who, const Uuid *object,
                            const Sha256 *sha256, const Proofs *said, ProofsBack *back, Err *err)
{
    *back = (ProofsBack){0};
    return tell_checks(c, who, object, said, back, err) &&
           tell_packs(c, who, object, sha256, said, back, err);
}
