/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_select.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_glob.h"

struct PostgresqlSelect {
    Buf *paths;
    size_t path_count;
    FilesGlob *globs; /* NULL when there are none */
};

static bool add_paths(PostgresqlSelect *s, const json_t *paths, Err *err)
{
    size_t i;
    json_t *path;
    s->paths = mem_array(Buf, json_array_size(paths));
    json_array_foreach(paths, i, path)
    {
        Buf *into = &s->paths[s->path_count++];
        if (!json_is_string(path))
            return err_set(err, ERR_USAGE, "target.select", "a selected path must be text");
        if (!json_unbytes((Text){json_string_value(path), json_string_length(path)}, into, err))
            return false;
        if (into->len > 0 && into->at[0] == '/') { /* absolute, as paths of files are written */
            memmove(into->at, into->at + 1, into->len - 1);
            into->len--;
        }
        while (into->len > 0 && into->at[into->len - 1] == '/')
            into->len--;
    }
    return true;
}

static bool add_globs(PostgresqlSelect *s, const json_t *globs, Err *err)
{
    size_t i;
    json_t *glob;
    if (json_array_size(globs) == 0)
        return true;
    s->globs = files_glob_new();
    json_array_foreach(globs, i, glob)
    {
        scoped(buf_free) Buf pattern = {0};
        if (!json_is_string(glob))
            return err_set(err, ERR_USAGE, "target.select", "a selected glob must be text");
        if (!json_unbytes((Text){json_string_value(glob), json_string_length(glob)}, &pattern,
                          err) ||
            !files_glob_add(s->globs, text_of_slice(buf_slice(&pattern)), err))
            return false;
    }
    return true;
}

bool postgresql_select_new(PostgresqlSelect **out, const json_t *select, Err *err)
{
    PostgresqlSelect *s = mem_new(PostgresqlSelect);
    *out = s;
    if (add_paths(s, json_object_get(select, "paths"), err) &&
        add_globs(s, json_object_get(select, "globs"), err))
        return true;
    postgresql_select_free(s);
    *out = NULL;
    return false;
}

void postgresql_select_free(PostgresqlSelect *select)
{
    if (select == NULL)
        return;
    for (size_t i = 0; i < select->path_count; i++)
        buf_free(&select->paths[i]);
    mem_free(select->paths);
    files_glob_free(select->globs);
    mem_free(select);
}

static bool everything(const PostgresqlSelect *s)
{
    return s->path_count == 0 && s->globs == NULL;
}

static bool is_or_contains(Text outer, Text inner)
{
    return outer.len <= inner.len && memcmp(outer.at, inner.at, outer.len) == 0 &&
           (outer.len == inner.len || inner.at[outer.len] == '/');
}

bool postgresql_select_entry(const PostgresqlSelect *s, Text path)
{
    for (size_t i = 0; i < s->path_count; i++)
        if (is_or_contains(text_of_slice(buf_slice(&s->paths[i])), path))
            return true;
    return everything(s) || (s->globs != NULL && files_glob_match(s->globs, path, path, false));
}

static void database_path(Buf *path, Text part)
{
    buf_add_text(path, TEXT("databases/"));
    buf_add_text(path, part);
}

bool postgresql_select_database(const PostgresqlSelect *s, Text part)
{
    scoped(buf_free) Buf path = {0};
    database_path(&path, part);
    Text database = text_of_slice(buf_slice(&path));
    for (size_t i = 0; i < s->path_count; i++) {
        Text wanted = text_of_slice(buf_slice(&s->paths[i]));
        if (is_or_contains(wanted, database) || is_or_contains(database, wanted))
            return true;
    }
    return everything(s) || s->globs != NULL;
}

bool postgresql_select_whole(const PostgresqlSelect *s, Text part)
{
    scoped(buf_free) Buf path = {0};
    database_path(&path, part);
    for (size_t i = 0; i < s->path_count; i++)
        if (is_or_contains(text_of_slice(buf_slice(&s->paths[i])), text_of_slice(buf_slice(&path))))
            return true;
    return everything(s);
}
