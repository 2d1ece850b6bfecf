/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/opened.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/locator_catalog.h"

typedef struct Open {
    const Fence *fence;
    Uuid backup;
    BackupOpened *row;
} Open;

static bool call_open(Catalog *catalog, void *ctx, Err *err)
{
    Open *open = ctx;
    return catalog_backup_open(catalog, open->fence, &open->backup, open->row, err);
}

bool opened_open(Opened *opened, Job *job, Err *err)
{
    Open open = {.fence = &job->fence, .row = &opened->row};
    *opened = (Opened){0};
    if (!uuid_parse(json_text_or(job->params, "backup", TEXT("")), &open.backup, err))
        return err_note(err, "which backup");
    if (!session_open(&opened->session, job, SESSION_READ, err) ||
        !patient_call(job->catalog, call_open, &open, err)) {
        opened_close(opened);
        return false;
    }
    opened->locator = locator_catalog_open(job->catalog, &job->fence);
    ReaderParams params = {.repo = opened->session.repo,
                           .locator = opened->locator,
                           .backup = open.backup,
                           .manifest = &opened->row.manifest_sha256,
                           /* what is being opened and written needs the rest */
                           .memory_bytes = job->settings->memory_bytes / 3 * 2};
    if (reader_open(&opened->reader, &params, err))
        return true;
    opened_close(opened);
    return false;
}

void opened_close(Opened *opened)
{
    reader_close(opened->reader);
    locator_close(opened->locator);
    session_close(&opened->session);
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
    return select->selection.path_count == 0 && select->selection.glob_count == 0;
}
