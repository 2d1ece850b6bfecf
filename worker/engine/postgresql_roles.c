/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_roles.h"

#include "common/base/json.h"
#include "common/base/mem.h"

#include <ctype.h>

/* The next statement: up to a ';' outside of quotes. Comments and the meta-commands of psql, which
 * begin a line, are passed over. */
static bool next_statement(Text *rest, Text *statement)
{
    size_t i = 0;
    while (i < rest->len && (isspace((unsigned char)rest->at[i]) || rest->at[i] == '\\' ||
                             (rest->at[i] == '-' && i + 1 < rest->len && rest->at[i + 1] == '-'))) {
        if (isspace((unsigned char)rest->at[i])) {
            i++;
            continue;
        }
        while (i < rest->len && rest->at[i] != '\n')
            i++;
    }
    size_t start = i;
    char quote = 0;
    for (; i < rest->len; i++) {
        char c = rest->at[i];
        if (quote == 0 && c == ';')
            break;
        if (quote == 0 && (c == '\'' || c == '"'))
            quote = c;
        else if (c == quote)
            quote = 0; /* a doubled quote ends and begins again */
    }
    if (i >= rest->len)
        return false;
    *statement = (Text){rest->at + start, i - start};
    *rest = (Text){rest->at + i + 1, rest->len - i - 1};
    return true;
}

static bool begins(Text text, const char *word)
{
    return text.len >= strlen(word) && memcmp(text.at, word, strlen(word)) == 0;
}

/* The identifier that follows `word`, as it is written (quoted where it needs it). */
static Text written_name(Text statement, const char *word)
{
    size_t start = strlen(word), i = start;
    bool quoted = false;
    for (; i < statement.len && (quoted || !isspace((unsigned char)statement.at[i])); i++)
        if (statement.at[i] == '"')
            quoted = !quoted;
    return (Text){statement.at + start, i - start};
}

static bool role_exists(const PostgresqlRules *rules, PGconn *conn, Text written, bool *exists,
                        Err *err)
{
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    scoped(mem_release) char *name = mem_text(written);
    const char *values[] = {name};
    /* parse_ident folds and unquotes as the server itself would. */
    if (!postgresql_link_query(rules->link, conn, "looking for a role",
                               "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = "
                               "(pg_catalog.parse_ident($1::text))[1]",
                               values, 1, &rows, err))
        return false;
    *exists = PQntuples(rows) > 0;
    return true;
}

typedef struct Known { /* roles that were there before: written names, one a line */
    Buf names;
} Known;

static bool is_known(Known *known, Text written)
{
    scoped(buf_free) Buf line = {0};
    buf_add_byte(&line, 0);
    buf_add_text(&line, written);
    buf_add_byte(&line, 0);
    return known->names.len > 0 &&
           memmem(known->names.at, known->names.len, line.at, line.len) != NULL;
}

static bool apply_one(const PostgresqlRules *rules, PGconn *conn, Known *known, Text statement,
                      Err *err)
{
    scoped(mem_release) char *sql = mem_text(statement);
    bool exists = false;
    if (begins(statement, "CREATE ROLE ")) {
        Text name = written_name(statement, "CREATE ROLE ");
        if (!role_exists(rules, conn, name, &exists, err))
            return false;
        if (exists) {
            buf_add_byte(&known->names, 0);
            buf_add_text(&known->names, name);
            buf_add_byte(&known->names, 0);
            return true;
        }
    } else if (begins(statement, "ALTER ROLE ")) {
        if (is_known(known, written_name(statement, "ALTER ROLE ")))
            return true;
    } else if (begins(statement, "COMMENT ON ROLE ")) {
        if (is_known(known, written_name(statement, "COMMENT ON ROLE ")))
            return true;
    } else if (!begins(statement, "GRANT ") && !begins(statement, "SET ")) {
        return true; /* tablespaces */
    }
    return postgresql_link_exec(rules->link, conn, "making the roles of the backup", sql, err);
}

bool postgresql_roles_apply(const PostgresqlRules *rules, Buf *globals, Err *err)
{
    PGconn *conn = NULL;
    Known known = {{0}};
    Text rest = text_of_slice(buf_slice(globals)), statement;
    bool ok = postgresql_link_connect(rules->link, (Text){0}, &conn, err);
    while (ok && next_statement(&rest, &statement))
        ok = apply_one(rules, conn, &known, statement, err);
    postgresql_link_disconnect(&conn);
    buf_free(&known.names);
    return ok;
}
