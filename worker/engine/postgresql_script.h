/* SPDX-License-Identifier: Apache-2.0
 * postgresql_script.h — a dump in SQL that somebody else made, taken apart into its statements.
 * Where one ends is found as psql finds it: quotes, dollar quotes, nested comments, parentheses and
 * the bodies of functions in SQL are looked over; what a statement says is the server's matter.
 * ■ To psql a backslash outside of these is a command, which may run a program or read a file of
 * the host where it runs. There is no psql here: such a line is refused by its number. All that is
 * passed over is \restrict and \unrestrict, which newer dumps have.
 * Statements that act on other databases or on the whole server are refused too, so that a dump of
 * a cluster, or one that makes its own database, does not end up half where nobody asked for it.
 * That is no wall: code in a dump runs with the rights of the login that restores it. */
#ifndef WORKER_ENGINE_POSTGRESQL_SCRIPT_H
#define WORKER_ENGINE_POSTGRESQL_SCRIPT_H

#include "common/base/buf.h"

typedef struct PostgresqlScript PostgresqlScript;

PostgresqlScript *postgresql_script_new(void);
void postgresql_script_free(PostgresqlScript *script); /* NULL is fine */

/* Takes bytes until a statement ends or they do; *used of them were taken. *whole: a statement is
 * there, it may be sent. `conforming`: what the server says of standard_conforming_strings. Errors
 * are ERR_INVALID, cause "target.script", and begin with the line. */
MUST_CHECK bool postgresql_script_take(PostgresqlScript *script, Slice bytes, bool conforming,
                                       size_t *used, bool *whole, Err *err);
/* No more bytes come. A statement, a quote or a comment that is still open means that the file was
 * cut; *whole: a last statement had no semicolon. */
MUST_CHECK bool postgresql_script_end(PostgresqlScript *script, bool *whole, Err *err);

/* The statement that is whole, until the next take. */
const char *postgresql_script_statement(PostgresqlScript *script);
uint64_t postgresql_script_line(const PostgresqlScript *script); /* where it begins */
bool postgresql_script_copies(const PostgresqlScript *script);   /* rows follow it in the file */

/* The line that comes next; rows that were taken by somebody else are counted in. */
uint64_t postgresql_script_at(const PostgresqlScript *script);
void postgresql_script_passed(PostgresqlScript *script, uint64_t lines);

#endif
