/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_choose.h"

#include "common/base/json.h"
#include "hf_engine_assets.h"

static bool asked_for_all(const json_t *wanted)
{
    const char *only = json_string_value(json_array_get(wanted, 0));
    return json_array_size(wanted) == 0 ||
           (json_array_size(wanted) == 1 && only != NULL && strcmp(only, "all") == 0);
}

bool postgresql_choose_connect(PostgresqlLink *link, const json_t *config, PGconn **out, Err *err)
{
    const json_t *wanted = json_object_get(config, "databases");
    const char *first = json_string_value(json_array_get(wanted, 0));
    if (postgresql_link_connect(link, (Text){0}, out, err))
        return true;
    if (asked_for_all(wanted) || first == NULL || err->code == ERR_UNREACHABLE ||
        !postgresql_link_connect(link, text_of(first), out, err))
        return false;
    *err = (Err){0};
    return true;
}

static bool is_listed(const PGresult *rows, Text name)
{
    for (int i = 0; i < PQntuples(rows); i++)
        if (text_equal(postgresql_link_value(rows, i, 0), name))
            return true;
    return false;
}

static bool choose_named(const PGresult *rows, const json_t *wanted, json_t *names, Err *err)
{
    size_t i;
    json_t *name;
    json_array_foreach(wanted, i, name)
    {
        Text text = {json_string_value(name), json_string_length(name)};
        if (text.at == NULL)
            return err_set(err, ERR_INVALID, "source.config",
                           "`databases` must be a list of names; correct the policy file");
        if (!is_listed(rows, text))
            return err_set(err, ERR_MISSING, "source.missing",
                           "database \"%.*s\" is not on the server, or the role may not connect "
                           "to it; correct `databases` or grant CONNECT",
                           TEXT_ARG(text));
        json_array_append_new(names, json_bytes(slice_of_text(text)));
    }
    return true;
}

bool postgresql_choose_databases(const PostgresqlLink *link, PGconn *conn, const json_t *config,
                                 json_t **names, Err *err)
{
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    scoped(json_release) json_t *chosen = json_array();
    const json_t *wanted = json_object_get(config, "databases");
    if (!postgresql_link_query(link, conn, "listing databases",
                               (const char *)asset_engine_databases_sql.bytes, NULL, 0, &rows, err))
        return false;
    if (asked_for_all(wanted)) {
        for (int i = 0; i < PQntuples(rows); i++)
            json_array_append_new(chosen,
                                  json_bytes(slice_of_text(postgresql_link_value(rows, i, 0))));
    } else if (!choose_named(rows, wanted, chosen, err)) {
        return false;
    }
    if (json_array_size(chosen) == 0)
        return err_set(err, ERR_MISSING, "source.missing",
                       "the role may connect to no database; grant CONNECT");
    *names = json_incref(chosen);
    return true;
}
