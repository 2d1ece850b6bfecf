/* SPDX-License-Identifier: Apache-2.0
 * postgres.h — a private PostgreSQL for one test: own directory below TMPDIR, a unix socket in it
 * and a free loopback port, stopped by its pid, and ended by the kernel when the test program dies.
 * Root runs it as user postgres. initdb is done once a machine and user; tests copy its result. */
#ifndef TESTS_HARNESS_POSTGRES_H
#define TESTS_HARNESS_POSTGRES_H

#include <stdint.h>

typedef struct Postgres Postgres;

/* A failure to start ends the test. options: more words of the command line, ended by NULL, such
 * as "-c", "wal_level=logical"; may be NULL. Everybody may log in without a password. */
Postgres *postgres_start(const char *const *options);

/* The same with checksums in its pages. */
Postgres *postgres_checked(const char *const *options);
/* The same without data and not yet running: what the test puts into postgres_data is what
 * postgres_again starts. */
Postgres *postgres_prepare(const char *const *options);
/* A standby of it, by the server's own pg_basebackup. */
Postgres *postgres_standby(const Postgres *primary, const char *const *options);

const char *postgres_data(const Postgres *pg);     /* its data directory */
const char *postgres_binaries(const Postgres *pg); /* where its programs are; ends with '/' */
const char *postgres_url(const Postgres *pg);      /* superuser, database postgres, by socket */
const char *postgres_socket(const Postgres *pg);   /* directory of the socket: PGHOST */
uint16_t postgres_port(const Postgres *pg);        /* PGPORT, also on 127.0.0.1 */
int postgres_pid(const Postgres *pg);

/* conninfo of a role and database, by socket. */
void postgres_as(const Postgres *pg, const char *role, const char *database, char out[256]);

/* Runs psql; a failure ends the test. For what only an administrator's hands do. */
void postgres_do(const Postgres *pg, const char *role, const char *database, const char *sql);

void postgres_kill(Postgres *pg);  /* immediate: like the power failing */
void postgres_again(Postgres *pg); /* after kill: the same port and directory */
void postgres_stop(Postgres *pg);  /* ends it, removes its directory; NULL is fine */

#endif
