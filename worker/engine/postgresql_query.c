/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_query.h"

#include "common/base/json.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE_MOST = 200, NUMBER_MOST = 40 };

/* "", or one of < <= > >=; moves behind it and the spaces. */
static Text operator_of(Text *rest)
{
    size_t n = rest->len > 0 && (rest->at[0] == '<' || rest->at[0] == '>') ? 1 : 0;
    if (n == 1 && rest->len > 1 && rest->at[1] == '=')
        n++;
    Text found = {rest->at, n};
    while (n > 0 && n < rest->len && rest->at[n] == ' ')
        n++;
    *rest = (Text){rest->at + n, rest->len - n};
    return found;
}

static bool number_of(Text text, long double *out)
{
    char copy[NUMBER_MOST], *end = NULL;
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    errno = 0;
    *out = strtold(copy, &end);
    return *end == 0 && errno == 0;
}

bool postgresql_query_meets(Text expect, Text value)
{
    long double wanted, got;
    Text rest = expect;
    Text how = operator_of(&rest);
    if (how.len == 0)
        return text_equal(expect, value);
    if (!number_of(rest, &wanted) || !number_of(value, &got))
        return false;
    if (text_equal(how, TEXT("<")))
        return got < wanted;
    if (text_equal(how, TEXT("<=")))
        return got <= wanted;
    if (text_equal(how, TEXT(">")))
        return got > wanted;
    return got >= wanted;
}

/* Its first value, or why there is none. */
static bool ask(PostgresqlLink *link, Text database, const char *sql, Buf *value, Err *err)
{
    PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    bool fine = postgresql_link_connect(link, database, &conn, err) &&
                postgresql_link_exec(link, conn, "beginning",
                                     "BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT", err) &&
                postgresql_link_query(link, conn, "asking", sql, NULL, 0, &rows, err);
    if (fine && (PQntuples(rows) == 0 || PQnfields(rows) == 0))
        fine = err_set(err, ERR_CORRUPT, "proof.query", "it answers no row");
    if (fine)
        buf_add_text(value,
                     PQgetisnull(rows, 0, 0) ? TEXT("NULL") : postgresql_link_value(rows, 0, 0));
    postgresql_link_disconnect(&conn);
    return fine;
}

static bool ask_one(PostgresqlLink *link, Text first, const json_t *query, json_t *answers,
                    Err *err)
{
    Text expect = json_text_or(query, "expect", TEXT(""));
    Text said_sql = json_text_or(query, "sql", TEXT(""));
    scoped(mem_release) char *sql = mem_text(said_sql);
    scoped(buf_free) Buf value = {0};
    scoped(buf_free) Buf database = {0};
    Err why = {0};
    if (!json_unbytes(json_text_or(query, "database", first), &database, err))
        return false;
    bool asked = ask(link, text_of_slice(buf_slice(&database)), sql, &value, &why);
    if (value.len > VALUE_MOST)
        value.len = VALUE_MOST;
    Text got = text_of_slice(buf_slice(&value));
    bool fine = asked && postgresql_query_meets(expect, got);
    json_array_append_new(
        answers,
        json_pack("{s:s, s:s%, s:o, s:b}", "sql", sql, "expect", expect.at, expect.len, "got",
                  asked ? json_bytes(buf_slice(&value)) : json_string(why.text), "ok", (int)fine));
    if (fine)
        return true;
    return err_set(err, ERR_CORRUPT, "proof.query",
                   "the query \"%.120s\" is expected to say %.*s and %s %.*s: look at the source, "
                   "whose data may have been so already, and at the policy's verify.query",
                   sql, TEXT_ARG(expect),
                   asked ? "says" : "fails:", asked ? (int)got.len : (int)strlen(why.text),
                   asked ? got.at : why.text);
}

bool postgresql_query_all(PostgresqlLink *link, Text first, const json_t *queries, json_t *report,
                          Err *err)
{
    size_t i;
    const json_t *query;
    bool fine = true;
    json_t *answers = json_array();
    json_object_set_new(report, "queries", answers);
    json_array_foreach(queries, i, query)
    {
        Err one = {0};
        if (ask_one(link, first, query, answers, &one))
            continue;
        if (fine)
            *err = one;
        fine = false;
    }
    return fine;
}
