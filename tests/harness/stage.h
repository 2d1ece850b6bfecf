/* SPDX-License-Identifier: Apache-2.0
 * stage.h — everything one job needs, without Redis, scheduler or worker parent: a real catalogue,
 * a sealed repository, a tree of files, a worker's settings. A job is created, claimed as that
 * worker and run, in this process or in a forked one that can be killed. A failure of the stage
 * itself ends the test. */
#ifndef TESTS_HARNESS_STAGE_H
#define TESTS_HARNESS_STAGE_H

#include "tests/harness/file_tree.h"
#include "tests/harness/fleet.h"
#include "tests/harness/repository.h"
#include "worker/job/job.h"

typedef struct Stage {
    Fleet *fleet;
    FleetWorker worker; /* reads and writes */
    Repository *repository;
    FileTree *tree;
    JobSettings settings;
    Allow *allow;
    char catalogue[256], keys[96], hooks[96], scratch[96];
    unsigned log_lines;
    char last_log[400]; /* "event text" */
    char all_log[8192];
    Fence fence;    /* of the last attempt */
    char state[16]; /* of its job, after stage_run */
} Stage;

/* One source "s1" of type files over the tree. extra: more members of the source. */
Stage *stage_new(const char *extra);
void stage_free(Stage *stage);

/* The policy again, with other extras or another config (NULL: the tree). */
void stage_policy(Stage *stage, const char *config, const char *extra);

/* Creates a job of this kind for s1 (params: JSON, "" for none), claims and runs it, tells the
 * catalogue the verdict. The caller frees *end with job_end_free. */
void stage_run(Stage *stage, const char *kind, const char *params, JobEnd *end);
/* The same with the next attempt of a job that was retried or reaped. */
void stage_again(Stage *stage, JobEnd *end);

/* Runs it in another process that is killed at this crash point; then the catalogue is told that
 * the lease was lost, so that stage_again may go on. */
void stage_killed(Stage *stage, const char *kind, const char *params, const char *crashpoint);

/* The newest backup of s1 as uuid text. */
void stage_backup(Stage *stage, char out[UUID_TEXT]);

#endif
