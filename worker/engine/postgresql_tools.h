/* SPDX-License-Identifier: Apache-2.0
 * postgresql_tools.h — the server's own programs on this host, in all versions that are installed.
 * A dump program must be as new as the server or newer; the nearest such version is taken. */
#ifndef WORKER_ENGINE_POSTGRESQL_TOOLS_H
#define WORKER_ENGINE_POSTGRESQL_TOOLS_H

#include "protocol/err.h"

#include <jansson.h>

typedef struct PostgresqlTools {
    char folder[240]; /* holds pg_dump, pg_dumpall, pg_restore, psql */
    char version[32]; /* "15.20" */
    int major;
} PostgresqlTools;

/* For a server whose PQserverVersion is given; wanted for its `cause` "source.tools". */
MUST_CHECK bool postgresql_tools_find(int server_version, const char *cause, PostgresqlTools *out,
                                      Err *err);
/* Those of a server of this very major version, initdb among them: what a throw-away server is made
 * with. Cause "sandbox.version" names what is here instead. */
MUST_CHECK bool postgresql_tools_server(int major, PostgresqlTools *out, Err *err);
/* "/usr/lib/postgresql/15/bin" + "pg_dump". */
void postgresql_tools_path(const PostgresqlTools *tools, const char *program, char out[300]);
/* {"pg_dump":["15.20"], "postgres":["15.20"]}; empty lists when there are none. */
json_t *postgresql_tools_list(void);

#endif
