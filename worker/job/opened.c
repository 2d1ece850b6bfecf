/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/opened.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/locator_catalog.h"

typedef struct Open {
    const Fence *fence;
    Uuid backup;
    BackupOpened *row;
    uint32_t repository;
} Open;

static bool call_open(Catalog *catalog, void *ctx, Err *err)
{
    Open *open = ctx;
    return catalog_backup_open(catalog, open->fence, &open->backup, open->row, err);
}

static bool call_place(Catalog *catalog, void *ctx, Err *err)
{
    Open *open = ctx;
    return catalog_place_open(catalog, open->fence, open->repository, err);
}

/* --- places --------------------------------------------------------------------------------- */

static Text store_of(const OpenedPlace *place)
{
    return json_text_or(place->row, "store", TEXT("?"));
}

static const json_t *repository_of(const Opened *opened, const OpenedPlace *place)
{
    const json_t *own = json_object_get(place->row, "repository");
    return json_is_object(own) ? own : opened->job->repository;
}

static bool is_own(const Opened *opened, const OpenedPlace *place)
{
    return json_u64_or(repository_of(opened, place), "no", 0) ==
           json_u64_or(opened->job->repository, "no", 0);
}

static bool open_place(Opened *opened, OpenedPlace *place, Err *err)
{
    Job *job = opened->job;
    bool own = !opened->second && is_own(opened, place);
    Open open = {.fence = &job->fence,
                 .repository = (uint32_t)json_u64_or(repository_of(opened, place), "no", 0)};
    if (place->open)
        return true;
    place->open = own ? session_open(&place->session, job, SESSION_READ, err)
                      : patient_call(job->catalog, call_place, &open, err) &&
                            session_open_other(&place->session, job, repository_of(opened, place),
                                               SESSION_READ, err);
    if (place->open)
        place->locator = locator_catalog_open(job->catalog, &job->fence, own ? 0 : open.repository);
    place->failed = !place->open;
    if (place->failed) {
        place->why = *err;
        job_log(job, LOG_WARN, "restore.passed_over", "%.*s: %s", TEXT_ARG(store_of(place)),
                err->text);
    }
    return place->open;
}

/* Those that the scheduler put last because something is wrong with them. */
static void tell_faults(Opened *opened)
{
    for (size_t i = 1; i < opened->place_count; i++) {
        OpenedPlace *place = &opened->places[i];
        const char *fault = json_string_value(json_object_get(place->row, "fault"));
        if (fault == NULL)
            continue;
        job_log(opened->job, LOG_WARN, "restore.passed_over", "%.*s: %s", TEXT_ARG(store_of(place)),
                fault);
    }
}

static void take_places(Opened *opened)
{
    const json_t *rows = json_object_get(opened->job->order, opened->second ? "against" : "places");
    for (size_t i = 0; i < json_array_size(rows) && i < OPENED_PLACES; i++)
        opened->places[opened->place_count++].row = json_array_get(rows, i);
    if (opened->place_count == 0)
        opened->place_count = 1; /* the order's repository, and no other */
    tell_faults(opened);
}

/* The n-th of those behind the one that is read. */
static bool elsewhere_place(void *ctx, unsigned n, Repo **repo, RepoLocator **locator, bool *more)
{
    Opened *opened = ctx;
    Err err = {0};
    *more = n + 1 < opened->place_count;
    if (!*more)
        return false;
    OpenedPlace *place = &opened->places[n + 1];
    pthread_mutex_lock(&opened->lock);
    bool open = !place->failed && open_place(opened, place, &err);
    pthread_mutex_unlock(&opened->lock);
    *repo = place->session.repo;
    *locator = place->locator;
    return open;
}

static void elsewhere_came(void *ctx, unsigned n, size_t bytes, const Err *why)
{
    Opened *opened = ctx;
    OpenedPlace *place = &opened->places[n + 1];
    pthread_mutex_lock(&opened->lock);
    if (place->chunks++ == 0) {
        place->why = *why;
        job_log(opened->job, LOG_WARN, "restore.elsewhere", "%.*s gives what %.*s has lost: %s",
                TEXT_ARG(store_of(place)), TEXT_ARG(store_of(&opened->places[0])), why->text);
    }
    place->bytes += bytes;
    pthread_mutex_unlock(&opened->lock);
}

void opened_tell(const Opened *opened, json_t *answer)
{
    json_t *passed = json_array(), *others = json_array();
    for (size_t i = 0; i < opened->place_count; i++) {
        const OpenedPlace *place = &opened->places[i];
        const char *fault = json_string_value(json_object_get(place->row, "fault"));
        Text store = store_of(place);
        if (i > 0 && (place->failed || fault != NULL))
            json_array_append_new(passed,
                                  json_pack("{s:s%, s:s}", "store", store.at, store.len, "why",
                                            place->failed ? place->why.text : fault));
        if (place->chunks > 0)
            json_array_append_new(others,
                                  json_pack("{s:s%, s:I, s:I, s:s}", "store", store.at, store.len,
                                            "chunks", (json_int_t)place->chunks, "bytes",
                                            (json_int_t)place->bytes, "why", place->why.text));
    }
    Text from = store_of(&opened->places[0]);
    if (opened->places[0].row != NULL)
        json_object_set_new(answer, "from", json_stringn(from.at, from.len));
    json_object_set_new(answer, "passed_over", passed);
    json_object_set_new(answer, "elsewhere", others);
}

/* --- opening -------------------------------------------------------------------------------- */

static bool may_try_another(const Err *err)
{
    return err->code != ERR_CANCELLED && err->code != ERR_FENCED && err->code != ERR_USAGE;
}

/* What failed goes behind the others: it may still be asked for nothing. */
static bool open_first(Opened *opened, Err *err)
{
    for (size_t tried = 1; !open_place(opened, &opened->places[0], err); tried++) {
        OpenedPlace failed = opened->places[0];
        if (tried >= opened->place_count || !may_try_another(err))
            return false;
        memmove(&opened->places[0], &opened->places[1],
                (opened->place_count - 1) * sizeof opened->places[0]);
        opened->places[opened->place_count - 1] = failed;
        *err = (Err){0};
    }
    opened->session = opened->places[0].session;
    opened->locator = opened->places[0].locator;
    return true;
}

static bool open_named(Opened *opened, const char *param, size_t memory, Err *err)
{
    Job *job = opened->job;
    Open open = {.fence = &job->fence, .row = &opened->row};
    pthread_mutex_init(&opened->lock, NULL);
    opened->elsewhere = (ReaderElsewhere){opened, elsewhere_place, elsewhere_came};
    if (!uuid_parse(json_text_or(job->params, param, TEXT("")), &open.backup, err))
        return err_note(err, "which backup");
    take_places(opened);
    if (!open_first(opened, err) || !patient_call(job->catalog, call_open, &open, err)) {
        opened_close(opened);
        return false;
    }
    ReaderParams params = {.repo = opened->session.repo,
                           .locator = opened->locator,
                           .backup = open.backup,
                           .manifest = &opened->row.manifest_sha256,
                           .memory_bytes = memory,
                           .elsewhere = opened->place_count > 1 ? &opened->elsewhere : NULL};
    if (reader_open(&opened->reader, &params, err))
        return true;
    opened_close(opened);
    return false;
}

bool opened_open(Opened *opened, Job *job, Err *err)
{
    *opened = (Opened){.job = job};
    /* What is being opened and written needs the rest. */
    return open_named(opened, "backup", job->settings->memory_bytes / 3 * 2, err);
}

bool opened_against(Opened *opened, Job *job, Err *err)
{
    *opened = (Opened){.job = job, .second = true};
    return open_named(opened, "against", job->settings->memory_bytes / 4, err);
}

void opened_close(Opened *opened)
{
    reader_close(opened->reader);
    for (size_t i = 0; i < opened->place_count; i++) {
        locator_close(opened->places[i].locator);
        session_close(&opened->places[i].session);
    }
    if (opened->job != NULL)
        pthread_mutex_destroy(&opened->lock);
    *opened = (Opened){0};
}

static bool take_texts(OpenedSelect *select, const json_t *list, Text *out, Err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        Text given = {json_string_value(one), json_string_length(one)};
        Buf *bytes = &select->bytes[select->count++];
        Err plain = {0};
        if (!json_is_string(one) || given.len == 0)
            return err_set(err, ERR_USAGE, "restore.select",
                           "a selection holds something that is no path");
        /* A path typed by a person may hold a '%' that escapes nothing. */
        if (!json_unbytes(given, bytes, &plain)) {
            buf_clear(bytes);
            buf_add_text(bytes, given);
        }
        Text path = buf_text(bytes);
        while (path.len > 0 && path.at[0] == '/')
            path = (Text){path.at + 1, path.len - 1};
        while (path.len > 0 && path.at[path.len - 1] == '/')
            path.len--;
        out[i] = path;
    }
    return true;
}

bool opened_select(OpenedSelect *select, const json_t *request, Err *err)
{
    const json_t *wanted = json_object_get(request, "select");
    const json_t *paths = json_object_get(wanted, "paths");
    const json_t *globs = json_object_get(wanted, "globs");
    size_t path_count = json_array_size(paths), glob_count = json_array_size(globs);
    *select = (OpenedSelect){0};
    select->tables = json_array_size(json_object_get(wanted, "tables"));
    select->bytes = mem_array(Buf, path_count + glob_count);
    select->paths = mem_array(Text, path_count);
    select->globs = mem_array(Text, glob_count);
    if (!take_texts(select, paths, select->paths, err) ||
        !take_texts(select, globs, select->globs, err)) {
        opened_select_free(select);
        return false;
    }
    select->selection = (ReaderSelection){.paths = select->paths,
                                          .path_count = path_count,
                                          .globs = select->globs,
                                          .glob_count = glob_count,
                                          .phase = -1};
    return true;
}

void opened_select_free(OpenedSelect *select)
{
    for (size_t i = 0; i < select->count; i++)
        buf_free(&select->bytes[i]);
    mem_free(select->bytes);
    mem_free(select->paths);
    mem_free(select->globs);
    *select = (OpenedSelect){0};
}

bool opened_selects_all(const OpenedSelect *select)
{
    return select->selection.path_count == 0 && select->selection.glob_count == 0 &&
           select->tables == 0;
}
