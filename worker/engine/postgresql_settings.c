/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_settings.h"

#include "worker/engine/postgresql_name.h"

static Text text_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? (Text){json_string_value(value), json_string_length(value)}
                                 : (Text){0};
}

static void add_option(Buf *sql, const char *word, Text value)
{
    if (value.len == 0)
        return;
    buf_printf(sql, " %s ", word);
    postgresql_name_literal(sql, value);
}

void postgresql_settings_create(const json_t *properties, int server_version, Buf *sql)
{
    Text provider = text_at(properties, "provider");
    buf_add_text(sql, TEXT(" TEMPLATE template0"));
    add_option(sql, "ENCODING", text_at(properties, "encoding"));
    add_option(sql, "LC_COLLATE", text_at(properties, "collate"));
    add_option(sql, "LC_CTYPE", text_at(properties, "ctype"));
    if (server_version >= 150000 && text_equal(provider, TEXT("i"))) {
        buf_add_text(sql, TEXT(" LOCALE_PROVIDER icu"));
        add_option(sql, "ICU_LOCALE", text_at(properties, "locale"));
    } else if (server_version >= 170000 && text_equal(provider, TEXT("b"))) {
        buf_add_text(sql, TEXT(" LOCALE_PROVIDER builtin"));
        add_option(sql, "BUILTIN_LOCALE", text_at(properties, "locale"));
    }
}

/* Settings whose value is a list of names: each name is a literal of its own. */
static bool is_list(Text name)
{
    static const char *const lists[] = {"local_preload_libraries", "search_path",
                                        "session_preload_libraries", "temp_tablespaces"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (text_equal(name, text_of(lists[i])))
            return true;
    return false;
}

/* `"$user", public` as it is stored: names that are quoted where they need it. */
static void add_list(Buf *sql, Text value)
{
    size_t i = 0;
    bool first = true;
    while (i < value.len) {
        scoped(buf_free) Buf name = {0};
        bool quoted = value.at[i] == '"';
        if (value.at[i] == ' ' || value.at[i] == ',') {
            i++;
            continue;
        }
        if (quoted)
            for (i++; i < value.len &&
                      (value.at[i] != '"' || (i + 1 < value.len && value.at[i + 1] == '"'));
                 i++) {
                if (value.at[i] == '"')
                    i++;
                buf_add_byte(&name, (uint8_t)value.at[i]);
            }
        else
            for (; i < value.len && value.at[i] != ',' && value.at[i] != ' '; i++)
                buf_add_byte(&name, (uint8_t)value.at[i]);
        i += quoted;
        buf_add_text(sql, first ? TEXT("") : TEXT(", "));
        postgresql_name_literal(sql, text_of_slice(buf_slice(&name)));
        first = false;
    }
    if (first)
        buf_add_text(sql, TEXT("''"));
}

static void add_set(Buf *sql, const char *database, Text role, Text setting)
{
    const char *equals = memchr(setting.at, '=', setting.len);
    if (equals == NULL)
        return;
    Text name = {setting.at, (size_t)(equals - setting.at)};
    Text value = {equals + 1, setting.len - name.len - 1};
    buf_add_text(sql, role.at == NULL ? TEXT("ALTER DATABASE ") : TEXT("ALTER ROLE "));
    if (role.at != NULL) {
        postgresql_name_quote(sql, role);
        buf_add_text(sql, TEXT(" IN DATABASE "));
    }
    postgresql_name_quote(sql, text_of(database));
    buf_add_text(sql, TEXT(" SET "));
    for (size_t start = 0; start <= name.len;) { /* "my.custom" is two names */
        const char *dot = memchr(name.at + start, '.', name.len - start);
        size_t end = dot == NULL ? name.len : (size_t)(dot - name.at);
        buf_add_text(sql, start > 0 ? TEXT(".") : TEXT(""));
        postgresql_name_quote(sql, (Text){name.at + start, end - start});
        start = end + 1;
    }
    buf_add_text(sql, TEXT(" TO "));
    if (is_list(name))
        add_list(sql, value);
    else
        postgresql_name_literal(sql, value);
    buf_add_text(sql, TEXT(";"));
}

static void add_grants(const json_t *properties, const char *name, Buf *sql)
{
    const json_t *grants = json_object_get(properties, "grants");
    size_t i;
    json_t *grant;
    if (!json_is_array(grants))
        return;
    buf_add_text(sql, TEXT("REVOKE ALL ON DATABASE "));
    postgresql_name_quote(sql, text_of(name));
    buf_add_text(sql, TEXT(" FROM PUBLIC;"));
    json_array_foreach(grants, i, grant)
    {
        Text to = text_at(grant, "to");
        buf_add_text(sql, TEXT("GRANT "));
        buf_add_text(sql, text_at(grant, "privilege"));
        buf_add_text(sql, TEXT(" ON DATABASE "));
        postgresql_name_quote(sql, text_of(name));
        buf_add_text(sql, TEXT(" TO "));
        if (to.at == NULL)
            buf_add_text(sql, TEXT("PUBLIC"));
        else
            postgresql_name_quote(sql, to);
        buf_add_text(sql, json_is_true(json_object_get(grant, "grantable"))
                              ? TEXT(" WITH GRANT OPTION;")
                              : TEXT(";"));
    }
}

void postgresql_settings_alter(const json_t *properties, const char *name, bool ignore_owners,
                               Buf *sql)
{
    size_t i, k;
    json_t *row, *setting;
    json_array_foreach(json_object_get(properties, "settings"), i, row)
    {
        Text role = text_at(row, "role");
        if (role.at != NULL && ignore_owners)
            continue;
        json_array_foreach(json_object_get(row, "set"), k, setting) add_set(
            sql, name, role, (Text){json_string_value(setting), json_string_length(setting)});
    }
    const json_t *limit = json_object_get(properties, "limit");
    Text comment = text_at(properties, "comment"), owner = text_at(properties, "owner");
    if (json_is_integer(limit) && json_integer_value(limit) >= 0) {
        buf_add_text(sql, TEXT("ALTER DATABASE "));
        postgresql_name_quote(sql, text_of(name));
        buf_printf(sql, " CONNECTION LIMIT %lld;", (long long)json_integer_value(limit));
    }
    if (comment.at != NULL) {
        buf_add_text(sql, TEXT("COMMENT ON DATABASE "));
        postgresql_name_quote(sql, text_of(name));
        buf_add_text(sql, TEXT(" IS "));
        postgresql_name_literal(sql, comment);
        buf_add_byte(sql, ';');
    }
    if (ignore_owners)
        return;
    add_grants(properties, name, sql);
    if (owner.at != NULL) {
        buf_add_text(sql, TEXT("ALTER DATABASE "));
        postgresql_name_quote(sql, text_of(name));
        buf_add_text(sql, TEXT(" OWNER TO "));
        postgresql_name_quote(sql, owner);
        buf_add_byte(sql, ';');
    }
}
