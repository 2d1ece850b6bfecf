/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain.h"

#include "common/base/crashpoint.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/rate.h"
#include "common/catalog/catalog_plain.h"
#include "worker/job/plain_check.h"
#include "worker/job/plain_form.h"
#include "worker/job/plain_name.h"
#include "worker/job/stores.h"

#include <inttypes.h>
#include <stdio.h>

enum { NAMES_TRIED = 100, META_MOST = 64 * 1024 };

typedef struct Plain {
    Job *job;
    const json_t *order; /* its part about this */
    const char *extension;
    bool tar, sql, meta;
    Store *store;
    Text store_name;
    PlainOpened row;
    Opened opened;
    Buf name, latest, holds;
    StorePut *put;
    HashSha256 *hash;
    Sha256 sha256;
    uint64_t bytes, entries;
    Rate rate;
    bool newest;
} Plain;

/* --- the catalogue's word ------------------------------------------------------------------- */

typedef struct Stage {
    const Plain *plain;
    const Sha256 *sha256; /* NULL: not yet */
    bool ours;
} Stage;

static bool call_open(Catalog *catalog, void *ctx, Err *err)
{
    Plain *plain = ctx;
    return catalog_plain_open(catalog, &plain->job->fence, &plain->row, err);
}

static bool call_stage(Catalog *catalog, void *ctx, Err *err)
{
    Stage *stage = ctx;
    const Plain *plain = stage->plain;
    PlainStage row = {.name = (const char *)plain->name.at,
                      .latest = buf_text(&plain->latest),
                      .meta = plain->meta,
                      .bytes = plain->bytes,
                      .sha256 = stage->sha256};
    return catalog_plain_stage(catalog, &plain->job->fence, &row, &stage->ours, err);
}

static bool call_commit(Catalog *catalog, void *ctx, Err *err)
{
    Plain *plain = ctx;
    return catalog_plain_commit(catalog, &plain->job->fence, &plain->newest, err);
}

static bool call_latest(Catalog *catalog, void *ctx, Err *err)
{
    Plain *plain = ctx;
    return catalog_plain_latest(catalog, &plain->job->fence, err);
}

typedef struct GiveUp {
    const Fence *fence;
    Text why;
} GiveUp;

static bool call_give_up(Catalog *catalog, void *ctx, Err *err)
{
    const GiveUp *up = ctx;
    return catalog_plain_give_up(catalog, up->fence, up->why, err);
}

/* --- opening -------------------------------------------------------------------------------- */

static bool open_all(Plain *plain, Err *err)
{
    Job *job = plain->job;
    const json_t *store = json_object_get(plain->order, "store");
    Text type = json_text_or(plain->order, "type", TEXT(""));
    plain->sql = !text_equal(type, TEXT("files"));
    plain->tar = !plain->sql || json_text_or(plain->order, "holds", TEXT("")).len > 0;
    plain->extension = plain_form_extension(type, plain->tar);
    plain->meta = json_bool_or(plain->order, "meta", true);
    plain->store_name = json_text_or(store, "name", TEXT("?"));
    plain->rate = (Rate){.bytes_a_second = json_u64_or(job->policy, "rate", 0)};
    if (plain->extension == NULL)
        return err_set(err, ERR_USAGE, "plain.type",
                       "backups of sources of type %.*s have no plain form", TEXT_ARG(type));
    return allow_plain(job->settings->allow, err) &&
           stores_open(&plain->store, job->settings, store, TEXT(""), err) &&
           patient_call(job->catalog, call_open, plain, err) &&
           plain_name_latest(plain->order, plain->extension, &plain->latest, err) &&
           (!plain->sql || !plain->tar || plain_name_holds(plain->order, &plain->holds, err));
}

/* --- reading back --------------------------------------------------------------------------- */

static bool read_on(void *ctx, size_t bytes, Err *err)
{
    (void)bytes;
    return job_go_on(ctx, err);
}

static bool check_file(Plain *plain, bool *whole, Err *why, Err *err)
{
    PlainCheck check = {.store = plain->store,
                        .name = buf_cstr(&plain->name),
                        .bytes = plain->bytes,
                        .sha256 = &plain->sha256,
                        .tar = plain->tar,
                        .sql = plain->sql,
                        .entries = plain->entries,
                        .ctx = plain->job,
                        .go_on = read_on};
    job_phase(plain->job, "verify");
    return plain_check(&check, whole, why, err);
}

/* --- its name ------------------------------------------------------------------------------- */

static bool is_free(Plain *plain, bool *free, Err *err)
{
    uint64_t size;
    bool there = false;
    scoped(buf_free) Buf meta = {0};
    buf_add_slice(&meta, buf_slice(&plain->name));
    buf_add_text(&meta, TEXT(".meta"));
    if (!store_head(plain->store, buf_cstr(&plain->name), &there, &size, err) ||
        (!there && !store_head(plain->store, buf_cstr(&meta), &there, &size, err)))
        return false;
    *free = !there;
    return true;
}

/* What lies under its first folder must not be a repository, even one nobody told the catalogue. */
static bool check_folder(const Plain *plain, Err *err)
{
    uint64_t size;
    bool there = false;
    scoped(buf_free) Buf config = {0};
    const uint8_t *slash = memchr(plain->name.at, '/', plain->name.len);
    if (slash == NULL)
        return true;
    buf_add(&config, plain->name.at, (size_t)(slash - plain->name.at));
    buf_add_text(&config, TEXT("/config"));
    if (!store_head(plain->store, buf_cstr(&config), &there, &size, err))
        return false;
    return !there || err_set(err, ERR_INVALID, "plain.repository",
                             "%.*s would lie among the objects of a repository: begin the name of "
                             "the plain copies otherwise",
                             (int)plain->name.len, (const char *)plain->name.at);
}

static bool choose_name(Plain *plain, Err *err)
{
    for (unsigned n = 1; n <= NAMES_TRIED; n++) {
        bool free = false;
        Stage stage = {.plain = plain};
        buf_clear(&plain->name);
        if (!plain_name_make(plain->order, plain->extension, n, &plain->name, err) ||
            !check_folder(plain, err) || !is_free(plain, &free, err))
            return false;
        buf_cstr(&plain->name);
        if (free && !patient_call(plain->job->catalog, call_stage, &stage, err))
            return false;
        if (free && stage.ours)
            return true;
    }
    return err_set(err, ERR_CONFLICT, "plain.taken",
                   "%.*s and %d names like it are taken in the store %.*s: put {time} or {backup} "
                   "into the name of the plain copies",
                   (int)plain->name.len, (const char *)plain->name.at, NAMES_TRIED,
                   TEXT_ARG(plain->store_name));
}

/* --- writing -------------------------------------------------------------------------------- */

static bool go_on(void *ctx, Err *err)
{
    return job_go_on(ctx, err);
}

static bool take(void *ctx, Slice bytes, Err *err)
{
    Plain *plain = ctx;
    hash_sha256_add(plain->hash, bytes);
    plain->bytes += bytes.len;
    plain->job->counters.stored += bytes.len;
    return store_put_write(plain->put, bytes, err) &&
           rate_wait(rate_take(&plain->rate, bytes.len), go_on, plain->job, err);
}

static bool stream(Plain *plain, Err *err)
{
    Job *job = plain->job;
    PlainForm form = {.job = job,
                      .opened = &plain->opened,
                      .holds = buf_text(&plain->holds),
                      .ctx = plain,
                      .take = take};
    job->counters.bytes_total = plain->opened.row.bytes;
    job->counters.total_basis = "plan";
    job_phase(job, "copy");
    plain->hash = hash_sha256_new();
    if (!store_put_begin(plain->store, buf_cstr(&plain->name), &plain->put, err) ||
        !plain_form_stream(&form, &plain->entries, err))
        return false;
    hash_sha256_end(plain->hash, &plain->sha256);
    return true;
}

static bool write_file(Plain *plain, Err *err)
{
    Stage stage = {.plain = plain, .sha256 = &plain->sha256};
    if (!opened_open(&plain->opened, plain->job, err) || !choose_name(plain, err))
        return false;
    CRASHPOINT("plain.named");
    if (!stream(plain, err))
        return err_note(err, "the plain copy");
    CRASHPOINT("plain.written");
    if (!patient_call(plain->job->catalog, call_stage, &stage, err))
        return false;
    if (!stage.ours)
        return err_set(err, ERR_BUSY, "plain.taken", "its name was taken meanwhile");
    CRASHPOINT("plain.staged");
    StorePut *put = plain->put;
    plain->put = NULL;
    if (!store_put_finish(put, err)) {
        if (strcmp(err->cause, "store.exists") == 0)
            err->code = ERR_BUSY; /* a stranger's: the next attempt takes another name */
        return false;
    }
    CRASHPOINT("plain.placed");
    return true;
}

/* The file of an earlier attempt, if it is there and just that one. */
static bool adopt(Plain *plain, bool *there, Err *err)
{
    Err why = {0};
    *there = false;
    if (!plain->row.hashed)
        return true;
    buf_add_text(&plain->name, text_of(plain->row.name));
    plain->bytes = plain->row.bytes;
    plain->sha256 = plain->row.sha256;
    if (!check_file(plain, there, &why, err))
        return false;
    if (*there)
        job_log(plain->job, LOG_INFO, "plain.adopted", "%s is there and whole", plain->row.name);
    else
        plain->bytes = 0;
    return true;
}

/* --- beside it ------------------------------------------------------------------------------ */

static const char *database_of(const Plain *plain, const json_t *details, Buf *names)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(details, "databases"), i, one)
        buf_printf(names, "%s%s", i == 0 ? "" : ",", json_text_or(one, "name", TEXT("?")).at);
    if (names->len == 0)
        buf_add_text(names, json_text_or(plain->order, "source", TEXT("")));
    return buf_cstr(names);
}

static json_t *describe(const Plain *plain, const json_t *details)
{
    static const char *const kept[] = {"timestamp", "type",           "source",
                                       "schedule",  "backup",         "parent",
                                       "policy",    "server_version", "tool_version"};
    char sha256[2 * sizeof plain->sha256.bytes + 1];
    scoped(buf_free) Buf names = {0};
    const char *name = (const char *)plain->name.at, *slash = strrchr(name, '/');
    json_t *meta = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        json_t *value = json_object_get(plain->order, kept[i]);
        json_object_set(meta, kept[i], value == NULL ? json_null() : value);
    }
    ids_hex(plain->sha256.bytes, sizeof plain->sha256.bytes, sha256);
    json_object_set_new(meta, "database", json_string(database_of(plain, details, &names)));
    json_object_set_new(meta, "size", json_integer((json_int_t)plain->bytes));
    json_object_set_new(meta, "file", json_string(slash == NULL ? name : slash + 1));
    json_object_set(meta, "status", json_object_get(plain->order, "outcome"));
    json_object_set_new(meta, "sha256", json_string(sha256));
    json_object_set_new(meta, "tool", json_string("holdfast-worker " HOLDFAST_VERSION));
    json_object_set(meta, "key", json_object_get(plain->order, "key_set"));
    return meta;
}

/* Only what a Holdfast wrote is written over. */
static bool put_meta(Plain *plain, const char *beside, const Buf *text, Err *err)
{
    bool found;
    scoped(buf_free) Buf name = {0};
    scoped(buf_free) Buf old = {0};
    scoped(json_release) json_t *known = NULL;
    Err ignored = {0};
    buf_printf(&name, "%s.meta", beside);
    if (!store_get(plain->store, buf_cstr(&name), META_MOST, &found, &old, err))
        return false;
    if (found && (!json_parse(buf_text(&old), &known, &ignored) ||
                  strncmp(json_text_or(known, "tool", TEXT("")).at, "holdfast-worker ", 16) != 0))
        return err_set(err, ERR_CONFLICT, "plain.foreign",
                       "%s is in the store and not of Holdfast: it is not written over",
                       buf_cstr(&name));
    return store_replace(plain->store, buf_cstr(&name), buf_slice(text), err);
}

static bool write_meta(Plain *plain, Buf *text, Err *err)
{
    scoped(json_release) json_t *details = NULL;
    if (plain->opened.reader != NULL) {
        if (!json_parse(reader_receipt(plain->opened.reader)->details, &details, err))
            return err_note(err, "the receipt of the backup");
    }
    scoped(json_release) json_t *meta = describe(plain, details);
    json_canonical(meta, text);
    buf_add_byte(text, '\n');
    return !plain->meta || put_meta(plain, (const char *)plain->name.at, text, err);
}

/* What cannot be told now is told by the next copy: this one is whole all the same. */
static bool tell_latest(Plain *plain, const Buf *meta, Err *err)
{
    Err why = {0};
    bool made;
    if (plain->latest.len == 0)
        return true;
    CRASHPOINT("plain.latest");
    const char *latest = buf_cstr(&plain->latest);
    if (!store_alias(plain->store, latest, buf_cstr(&plain->name), &made, &why) ||
        (plain->meta && !put_meta(plain, latest, meta, &why))) {
        job_log(plain->job, LOG_WARN, "plain.latest", "%s does not name it: %s", latest, why.text);
        return true;
    }
    return patient_call(plain->job->catalog, call_latest, plain, err);
}

/* --- the whole ------------------------------------------------------------------------------ */

static bool give_up(Plain *plain, const Err *why, Err *err)
{
    GiveUp up = {&plain->job->fence, text_of(why->text)};
    if (!patient_call(plain->job->catalog, call_give_up, &up, err))
        return false;
    plain->job->counters.errors++;
    return err_set(err, ERR_SOURCE, "plain.damaged", "%s was written and does not read back: %s",
                   buf_cstr(&plain->name), why->text);
}

static bool finish(Plain *plain, Err *err)
{
    scoped(buf_free) Buf meta = {0};
    if (!write_meta(plain, &meta, err))
        return false;
    CRASHPOINT("plain.meta");
    if (!patient_call(plain->job->catalog, call_commit, plain, err))
        return false;
    CRASHPOINT("plain.committed");
    return !plain->newest || tell_latest(plain, &meta, err);
}

static bool make(Plain *plain, Err *err)
{
    Err why = {0};
    bool there, whole;
    if (!adopt(plain, &there, err))
        return false;
    if (!there) {
        if (!write_file(plain, err) || !check_file(plain, &whole, &why, err))
            return false;
        if (!whole)
            return give_up(plain, &why, err);
    } else if (!opened_open(&plain->opened, plain->job, err)) {
        return false;
    }
    return finish(plain, err);
}

/* Committed by an attempt that died before it had told latest. */
static bool finish_told(Plain *plain, Err *err)
{
    buf_add_text(&plain->name, text_of(plain->row.name));
    plain->bytes = plain->row.bytes;
    plain->sha256 = plain->row.sha256;
    buf_cstr(&plain->name);
    return !plain->row.newest || plain->row.told ||
           (opened_open(&plain->opened, plain->job, err) && finish(plain, err));
}

static bool run(Plain *plain, JobResult *result, Err *err)
{
    if (!open_all(plain, err) ||
        !(plain->row.committed ? finish_told(plain, err) : make(plain, err)))
        return false;
    snprintf(result->text, sizeof result->text, "%s in %.*s: %" PRIu64 " bytes",
             buf_cstr(&plain->name), TEXT_ARG(plain->store_name), plain->bytes);
    result->answer =
        json_pack("{s:s, s:s%, s:I}", "file", buf_cstr(&plain->name), "store", plain->store_name.at,
                  plain->store_name.len, "bytes", (json_int_t)plain->bytes);
    return true;
}

bool plain_wanted(const Job *job)
{
    return json_is_object(json_object_get(job->order, "plain"));
}

bool plain_run(Job *job, JobResult *result, Err *err)
{
    Plain plain = {.job = job, .order = json_object_get(job->order, "plain")};
    bool fine = run(&plain, result, err);
    store_put_abort(plain.put);
    hash_sha256_free(plain.hash);
    opened_close(&plain.opened);
    store_close(plain.store);
    buf_free(&plain.name);
    buf_free(&plain.latest);
    buf_free(&plain.holds);
    return fine;
}
