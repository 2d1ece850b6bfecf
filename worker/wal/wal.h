/* SPDX-License-Identifier: Apache-2.0
 * wal.h — what a PostgreSQL server calls on its own host, as its own user, without a file of
 * settings: archive_command = 'holdfast-worker wal-push %p'.
 * wal-push takes a file of the log into the spool of the host (worker/engine/postgresql_spool.h)
 * and says done (0) when a committed backup has it, or, where the policy says so, when it is
 * durable in the spool. All else is 1: the server keeps the file and asks again. What is there
 * under a name already may come again with the same bytes, and is refused with others.
 * wal-fetch is the way back, for a recovery or a standby: restore_command = 'holdfast-worker
 * wal-fetch … %f %p'. 0: the file is there; 1: it is stored nowhere, so recovery ends or goes on
 * streaming; 255: nobody can say, which stops the server (worker/wal/wal_fetch.h). */
#ifndef WORKER_WAL_WAL_H
#define WORKER_WAL_WAL_H

/* argv[0] is the verb. They return the exit code. */
int wal_push_main(int argc, char **argv);
int wal_fetch_main(int argc, char **argv);

#endif
