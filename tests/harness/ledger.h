/* SPDX-License-Identifier: Apache-2.0
 * ledger.h — a RepoLedger in memory, for tests: what the catalogue does, without a server.
 * Packs are staged by the attempt that is current; ledger_attempt begins the next one, which adopts
 * them; ledger_commit makes the named packs live. */
#ifndef TESTS_HARNESS_LEDGER_H
#define TESTS_HARNESS_LEDGER_H

#include "common/repo/ledger.h"

RepoLedger *ledger_new(void);
void ledger_free(RepoLedger *ledger);

void ledger_attempt(RepoLedger *ledger); /* the same job again: adopts what was staged */
void ledger_job(RepoLedger *ledger);     /* another job: nothing is adopted */
void ledger_commit(RepoLedger *ledger, const uint64_t *pack_nos, size_t count);

/* Nothing is found in this pack any more, if it is of this kind; *object is its name. */
bool ledger_damage(RepoLedger *ledger, uint64_t pack_no, PackKind kind, Uuid *object);
void ledger_lose(RepoLedger *ledger); /* every pack so far is damaged: nothing of it is found */

uint64_t ledger_lookups(const RepoLedger *ledger);
uint64_t ledger_indexes(RepoLedger *ledger); /* index objects that were announced */
uint64_t ledger_packs(const RepoLedger *ledger);
uint64_t ledger_bytes(const RepoLedger *ledger); /* of all staged and live objects */
bool ledger_unsorted(const RepoLedger *ledger);  /* a lookup came with ids out of order */

/* The n-th call from now fails with ERR_UNREACHABLE; 0: none. */
void ledger_fail_at(RepoLedger *ledger, uint64_t call);

/* Keeps the rows in a file, so that a process killed with -9 leaves them to the next; autosave does
 * so at every change (path must live as long as the ledger). */
void ledger_autosave(RepoLedger *ledger, const char *path);
bool ledger_save(const RepoLedger *ledger, const char *path);
RepoLedger *ledger_load(const char *path);

#endif
