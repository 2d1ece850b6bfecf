/* SPDX-License-Identifier: Apache-2.0
 * proof_judge.h — whose fault is it that a backup could not be restored to its end? */
#ifndef WORKER_JOB_PROOF_JUDGE_H
#define WORKER_JOB_PROOF_JUDGE_H

#include "protocol/err.h"

typedef enum ProofVerdict {
    PROOF_FAILED = 1,   /* the backup's */
    PROOF_INCONCLUSIVE, /* this host's; *err then has a cause "sandbox.…" */
    PROOF_UNKNOWN,      /* nobody's: the attempt ended before it could be seen */
} ProofVerdict;

ProofVerdict proof_judge(Err *err);

#endif
