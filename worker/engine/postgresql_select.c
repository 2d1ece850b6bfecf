/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_select.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_glob.h"
#include "worker/engine/postgresql_name.h"

struct PostgresqlSelect {
    Buf *paths;
    size_t path_count;
    FilesGlob *globs; /* NULL when there are none */
    Buf *tables;      /* "tables/<schema>/<table>", of any database */
    bool *found;      /* each of them */
    size_t table_count;
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

/* One name as SQL writes it: x, or "x ""y"". Takes it off the text; false: it is none. */
static bool take_name(Text *text, Buf *name)
{
    size_t i = 0;
    bool quoted = text->len > 0 && text->at[0] == '"';
    for (i = quoted; i < text->len; i++) {
        if (quoted && text->at[i] == '"' && (i + 1 == text->len || text->at[i + 1] != '"'))
            break;
        if (!quoted && (text->at[i] == '.' || text->at[i] == '"'))
            break;
        buf_add_byte(name, (uint8_t)text->at[i]);
        i += quoted && text->at[i] == '"';
    }
    if (quoted && i == text->len)
        return false;
    *text = (Text){text->at + i + quoted, text->len - i - quoted};
    return name->len > 0;
}

/* schema.table; without a schema, of public. */
static bool add_table(Buf *into, Text text, Err *err)
{
    scoped(buf_free) Buf first = {0};
    scoped(buf_free) Buf second = {0};
    Text rest = text;
    bool good = take_name(&rest, &first);
    bool two = good && rest.len > 0 && rest.at[0] == '.';
    if (two) {
        rest = (Text){rest.at + 1, rest.len - 1};
        good = take_name(&rest, &second);
    }
    if (!good || rest.len > 0)
        return err_set(err, ERR_USAGE, "target.table",
                       "%.*s is no table's name: write schema.table, in double quotes what has a "
                       "dot or a quote in it",
                       TEXT_ARG(text));
    postgresql_name_path(into, two ? text_of_slice(buf_slice(&first)) : TEXT("public"),
                         text_of_slice(buf_slice(two ? &second : &first)));
    return true;
}

static bool add_tables(PostgresqlSelect *s, const json_t *tables, Err *err)
{
    size_t i;
    json_t *table;
    s->tables = mem_array(Buf, json_array_size(tables));
    s->found = mem_array(bool, json_array_size(tables));
    json_array_foreach(tables, i, table)
    {
        Text text = {json_string_value(table), json_string_length(table)};
        if (!json_is_string(table))
            return err_set(err, ERR_USAGE, "target.select", "a selected table must be text");
        if (!add_table(&s->tables[s->table_count++], text, err))
            return false;
    }
    return true;
}

bool postgresql_select_new(PostgresqlSelect **out, const json_t *select, Err *err)
{
    PostgresqlSelect *s = mem_new(PostgresqlSelect);
    *out = s;
    if (add_paths(s, json_object_get(select, "paths"), err) &&
        add_globs(s, json_object_get(select, "globs"), err) &&
        add_tables(s, json_object_get(select, "tables"), err))
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
    for (size_t i = 0; i < select->table_count; i++)
        buf_free(&select->tables[i]);
    mem_free(select->tables);
    mem_free(select->found);
    files_glob_free(select->globs);
    mem_free(select);
}

static bool everything(const PostgresqlSelect *s)
{
    return s->path_count == 0 && s->globs == NULL && s->table_count == 0;
}

/* Is the path that of this table, in whichever database? */
static bool is_table(Text path, const Buf *table)
{
    static const char top[] = "databases/";
    const char *slash;
    size_t skip = sizeof top - 1;
    if (path.len <= skip || memcmp(path.at, top, skip) != 0 ||
        (slash = memchr(path.at + skip, '/', path.len - skip)) == NULL)
        return false;
    Text below = {slash + 1, (size_t)(path.at + path.len - slash - 1)};
    return text_equal(below, text_of_slice(buf_slice(table)));
}

void postgresql_select_see(PostgresqlSelect *s, Text path)
{
    for (size_t i = 0; i < s->table_count; i++)
        s->found[i] = s->found[i] || is_table(path, &s->tables[i]);
}

bool postgresql_select_complete(const PostgresqlSelect *s, Err *err)
{
    for (size_t i = 0; i < s->table_count; i++) {
        Text path = text_of_slice(buf_slice(&s->tables[i]));
        if (!s->found[i])
            return err_set(err, ERR_MISSING, "target.table",
                           "the backup has no rows of table %.*s: see  holdfast backup files; of "
                           "one that is partitioned name the partitions",
                           (int)(path.len - 7), path.at + 7);
    }
    return true;
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
    for (size_t i = 0; i < s->table_count; i++)
        if (is_table(path, &s->tables[i]))
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
    return everything(s) || s->globs != NULL || s->table_count > 0;
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
