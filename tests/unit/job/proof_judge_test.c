/* SPDX-License-Identifier: Apache-2.0
 * Whose fault it is that a backup was not restored: the words of real servers. */
#include "worker/job/proof_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    ErrCode code;
    const char *cause, *text;
    ProofVerdict verdict;
    const char *becomes;
} cases[] = {
    {ERR_SOURCE, "target.schema",
     "pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available",
     PROOF_INCONCLUSIVE, "sandbox.extension"},
    {ERR_SOURCE, "target.query", "creating the database: ERROR: invalid locale name: \"de_DE\"",
     PROOF_INCONCLUSIVE, "sandbox.locale"},
    {ERR_SOURCE, "target.schema", "ERROR: timescaledb must be loaded via shared_preload_libraries",
     PROOF_INCONCLUSIVE, "sandbox.preload"},
    {ERR_FULL, "target.full", "copying rows: ERROR: could not extend file", PROOF_INCONCLUSIVE,
     "sandbox.space"},
    {ERR_UNREACHABLE, "target.lost", "the connection broke", PROOF_INCONCLUSIVE, "sandbox.died"},
    {ERR_UNREACHABLE, "proof.lost", "the connection broke", PROOF_INCONCLUSIVE, "sandbox.died"},
    {ERR_MISSING, "sandbox.version", "no server of 17 here", PROOF_INCONCLUSIVE, "sandbox.version"},
    {ERR_CORRUPT, "target.rows", "table a has 1 rows, the backup says 2", PROOF_FAILED,
     "target.rows"},
    {ERR_SOURCE, "proof.query", "invalid page in block 3 of relation", PROOF_FAILED, "proof.query"},
    {ERR_CORRUPT, "repo.damaged", "a chunk does not open", PROOF_FAILED, "repo.damaged"},
    {ERR_UNREACHABLE, "store.unreachable", "the store does not answer", PROOF_UNKNOWN,
     "store.unreachable"},
    {ERR_FENCED, "job.fenced", "the lease is lost", PROOF_UNKNOWN, "job.fenced"},
    {ERR_BUG, "target.order", "cannot be", PROOF_UNKNOWN, "target.order"},
};

static void each_error_is_somebodys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        err_set(&err, cases[i].code, cases[i].cause, "%s", cases[i].text);
        ProofVerdict verdict = proof_judge(&err);
        if (verdict != cases[i].verdict || strcmp(err.cause, cases[i].becomes) != 0)
            fail_msg("%s: %s is %d, %s", cases[i].cause, cases[i].text, (int)verdict, err.cause);
        assert_non_null(strstr(err.text, cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_error_is_somebodys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
