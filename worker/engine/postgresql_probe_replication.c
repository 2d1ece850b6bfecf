/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_probe_replication.h"

#include "common/base/json.h"
#include "common/base/rand.h"
#include "worker/engine/postgresql_physical.h"
#include "worker/engine/postgresql_replication.h"
#include "worker/engine/postgresql_versions.h"
#include "worker/engine/postgresql_wal.h"

#include <stdio.h>

bool postgresql_probe_replicates(const EngineParams *params)
{
    return postgresql_physical_asked(params) || postgresql_wal_asked(params);
}

/* SHOW wal_level needs no rights, and a slot cannot be made where it is minimal. */
static bool check_level(PostgresqlLink *link, PGconn *conn, PostgresqlChecks *checks)
{
    char level[POSTGRESQL_SETTING], text[POSTGRESQL_SETTING + 40];
    Err err = {0};
    if (!postgresql_replication_show(link, conn, "wal_level", level, &err)) {
        postgresql_check_err(checks, "wal_level", &err);
        return false;
    }
    snprintf(text, sizeof text, "wal_level is %s", level);
    return postgresql_check(checks, "wal_level", strcmp(level, "minimal") != 0,
                            "ALTER SYSTEM SET wal_level = replica, and restart the server", text);
}

static void tell_system(const PostgresqlSystem *system, json_t *report, PostgresqlChecks *checks)
{
    char version[32], text[200];
    snprintf(version, sizeof version, "%d.%d", system->version / 10000, system->version % 10000);
    json_object_set_new(report, "server_version", json_string(version));
    json_object_set_new(report, "system", json_string(system->identifier));
    snprintf(text, sizeof text, "system %s on timeline %u", system->identifier, system->timeline);
    postgresql_check(checks, "server", true, "", text);
    postgresql_check(checks, "page checksums", true, "",
                     system->checksums ? "on: a page that is corrupt on the server's disk is told"
                                       : "off: corruption on the server's disk goes unseen "
                                         "(pg_checksums --enable, with the server stopped)");
}

/* Another session beside the first, and a slot that ends with it: as a backup does. */
static void check_slot(PostgresqlLink *link, PostgresqlChecks *checks)
{
    PGconn *conn = NULL;
    uint8_t random[6];
    char name[POSTGRESQL_SLOT_NAME] = "holdfast_test_";
    size_t at = strlen(name);
    Err err = {0};
    rand_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        at += (size_t)snprintf(name + at, sizeof name - at, "%02x", random[i]);
    if (!postgresql_link_replication(link, &conn, &err))
        postgresql_check_err(checks, "sessions", &err);
    else if (postgresql_check(checks, "sessions", true, "", "two may be had at once") &&
             !postgresql_replication_slot(link, conn, name, true, &err))
        postgresql_check_err(checks, "slot", &err);
    else
        postgresql_check(checks, "slot", true, "", "one can be made");
    postgresql_link_disconnect(&conn);
}

/* A batch of the log asks in SQL too, where it left the last one. */
static void check_log_slot(PostgresqlLink *link, const EngineParams *params,
                           PostgresqlChecks *checks)
{
    PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *result = NULL;
    scoped(buf_free) Buf slot = {0};
    char text[200];
    Err err = {0};
    buf_add_text(&slot, json_text_or(params->config, "slot", TEXT("holdfast")));
    const char *values[] = {buf_cstr(&slot)};
    if (!postgresql_link_connect(link, TEXT(""), &conn, &err) ||
        !postgresql_link_query(link, conn, "looking for the replication slot",
                               "SELECT slot_type, coalesce(wal_status, 'lost'), active FROM "
                               "pg_catalog.pg_replication_slots WHERE slot_name = $1",
                               values, 1, &result, &err)) {
        postgresql_check_err(checks, "log slot", &err);
    } else if (PQntuples(result) == 0) {
        snprintf(text, sizeof text, "%.63s is not there yet: the first batch makes it", values[0]);
        postgresql_check(checks, "log slot", true, "", text);
    } else {
        bool physical = strcmp(PQgetvalue(result, 0, 0), "physical") == 0;
        snprintf(text, sizeof text, "%.63s is a %.20s slot, its log is %.20s", values[0],
                 PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
        postgresql_check(checks, "log slot", physical, "it is somebody else's: drop or rename it",
                         text);
    }
    postgresql_link_disconnect(&conn);
}

void postgresql_probe_replication(PostgresqlLink *link, const EngineParams *params, json_t *report,
                                  PostgresqlChecks *checks)
{
    PGconn *conn = NULL;
    PostgresqlSystem system;
    const PostgresqlVersion *version;
    Err err = {0};
    if (!postgresql_link_replication(link, &conn, &err)) {
        postgresql_check_err(checks, "login", &err);
        return;
    }
    if (!postgresql_replication_identify(link, conn, &system, &err)) {
        postgresql_check_err(checks, "server", &err);
    } else {
        postgresql_check(checks, "login", true, "",
                         system.standby ? "signed in to a standby, for replication"
                                        : "signed in for replication");
        tell_system(&system, report, checks);
        if (postgresql_physical_asked(params) &&
            !postgresql_version_of(system.version, &version, &err))
            postgresql_check_err(checks, "version", &err);
        if (check_level(link, conn, checks))
            check_slot(link, checks);
        if (postgresql_wal_asked(params))
            check_log_slot(link, params, checks);
    }
    postgresql_link_disconnect(&conn);
}
