/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_slot.h"

#include "common/base/json.h"
#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_replication.h"

#include <stdio.h>
#include <string.h>

static const char ours[] = "holdfast_";

static bool take_name(const EngineParams *params, char slot[POSTGRESQL_SLOT_NAME], Err *err)
{
    Text name = json_text_or(params->request, "slot", TEXT(""));
    if (name.len >= POSTGRESQL_SLOT_NAME || name.len < sizeof ours ||
        memcmp(name.at, ours, sizeof ours - 1) != 0)
        return err_set(err, ERR_DENIED, "source.slot",
                       "%.*s is not named like a slot of ours: it is not dropped",
                       (int)(name.len < 80 ? name.len : 80), name.at);
    snprintf(slot, POSTGRESQL_SLOT_NAME, "%.*s", TEXT_ARG(name));
    return true;
}

/* *there false: nobody has a slot of that name. */
static bool may_be_dropped(PostgresqlLink *link, PGconn *conn, const char *slot, bool *there,
                           Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    const char *values[] = {slot};
    if (!postgresql_link_query(link, conn, "looking for the replication slot",
                               "SELECT slot_type, active_pid FROM pg_catalog.pg_replication_slots "
                               "WHERE slot_name = $1",
                               values, 1, &result, err))
        return false;
    *there = PQntuples(result) > 0;
    if (!*there)
        return true;
    if (strcmp(PQgetvalue(result, 0, 0), "physical") != 0)
        return err_set(err, ERR_CONFLICT, "source.slot",
                       "the slot %s is a logical one, and so not ours: it is not dropped", slot);
    return PQgetisnull(result, 0, 1) ||
           err_set(err, ERR_BUSY, "source.slot_active",
                   "the slot %s is read from by process %s of its server: it is not dropped", slot,
                   PQgetvalue(result, 0, 1));
}

bool postgresql_slot_drop(const EngineParams *params, json_t **report, Err *err)
{
    char slot[POSTGRESQL_SLOT_NAME];
    const char *values[] = {slot};
    PostgresqlLink *link = NULL;
    PGconn *conn = NULL;
    bool there = false;
    bool fine = take_name(params, slot, err) &&
                postgresql_link_open(&link, params->config, params->host, "source", err) &&
                postgresql_link_connect(link, TEXT(""), &conn, err) &&
                may_be_dropped(link, conn, slot, &there, err) &&
                (!there || postgresql_link_query(link, conn, "dropping the replication slot",
                                                 "SELECT pg_drop_replication_slot($1)", values, 1,
                                                 NULL, err));
    postgresql_link_disconnect(&conn);
    postgresql_link_close(link);
    if (fine)
        *report = json_pack("{s:b, s:s}", "dropped", there, "text",
                            there ? "the slot was dropped" : "the slot was not there any more");
    return fine;
}
