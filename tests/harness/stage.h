/* SPDX-License-Identifier: Apache-2.0
 * stage.h — everything one job needs, without Redis, scheduler or worker parent: a real catalogue,
 * a sealed repository, a tree of files, a worker.yaml. A job is created and claimed as that worker;
 * `holdfast-worker job` runs it as its own process, as a worker would start it. A failure of the
 * stage itself ends the test. */
#ifndef TESTS_HARNESS_STAGE_H
#define TESTS_HARNESS_STAGE_H

#include "tests/harness/file_tree.h"
#include "tests/harness/fleet.h"
#include "tests/harness/repository.h"
#include "worker/job/channel.h"

#include <sys/types.h>

typedef struct Stage {
    Fleet *fleet;
    FleetWorker worker; /* reads and writes */
    FleetWorker pruner; /* runs the jobs of the kinds prune and retention */
    bool prunes;        /* the last attempt is the pruner's */
    Repository *repository;
    FileTree *tree;
    char config[96], prune_config[96], hooks[96], scratch[96], keys[96];
    Fence fence;    /* of the last attempt */
    char state[16]; /* of its job, after its end */
    Buf order;      /* of the last attempt */
    pid_t child;    /* 0: none */
    int to_child, from_child;
    ChannelInput input;
    ChannelOutput output;
    unsigned frames; /* of progress */
    char phase[32];  /* of the last one */
    uint64_t bytes_done;
    Buf log; /* "event text" lines of the last attempt */
} Stage;

/* How an attempt ended. */
typedef struct StageEnd {
    bool told; /* a verdict came */
    char outcome[16], code[24], cause[64], text[500];
    bool committed, retry;
    json_t *answer;
    int status; /* of the process, as waitpid gives it */
} StageEnd;
void stage_end_free(StageEnd *end);

/* One source "s1" of type files over the tree. extra: more members of the source. */
Stage *stage_new(const char *extra);
void stage_free(Stage *stage);

/* The policy again, with other extras, another type and config (NULL: files over the tree). */
void stage_policy(Stage *stage, const char *type, const char *config, const char *extra);
/* worker.yaml again, with more lines. */
void stage_config(Stage *stage, const char *allow, const char *more);

/* The pruner's file: how many packs a run may delete, and more members of `allow`. */
void stage_prune_config(Stage *stage, unsigned packs, const char *more);

/* Creates a job of this kind for s1, or, to prune, for its repository (params: JSON, "" for none),
 * claims it, starts it. Of kind retention params is SQL: which backups b its plan lets go.
 * Of kind round: a round of content over s1, one pack after another. */
void stage_start(Stage *stage, const char *kind, const char *params);
/* The same with the next attempt of the last job. */
void stage_start_again(Stage *stage);
/* Reads one frame; false at the end of the process. */
bool stage_listen(Stage *stage, StageEnd *end);
/* Listens to the end; tells the catalogue the verdict, as a worker does. */
void stage_finish(Stage *stage, StageEnd *end);
void stage_cancel(Stage *stage, const char *reason);

void stage_run(Stage *stage, const char *kind, const char *params, StageEnd *end);
/* Another order under the last fence; the catalogue is told nothing. */
void stage_run_order(Stage *stage, const json_t *order, StageEnd *end);
/* After the catalogue's server was away. */
void stage_reconnect(Stage *stage);
void stage_again(Stage *stage, StageEnd *end);

/* Runs it until kill -9 at this crash point. */
void stage_killed(Stage *stage, const char *kind, const char *params, const char *crashpoint);
/* Starts it and returns when it has stopped itself there; SIGCONT lets it go on. */
void stage_stopped(Stage *stage, const char *kind, const char *params, const char *crashpoint);
/* The catalogue collects the lost attempt: stage_again may go on. */
void stage_reap(Stage *stage);

/* run, and it must end so. */
void stage_must(Stage *stage, const char *kind, const char *params, const char *outcome);
void stage_back_up(Stage *stage);                     /* completed and committed */
void stage_restore(Stage *stage, const char *more);   /* the newest backup, into the tree's out */
void stage_backup(Stage *stage, char out[UUID_TEXT]); /* the newest one of s1 */

/* Rows of the catalogue: `what` is a table, and a condition if there is one. */
int64_t stage_counted(const Stage *stage, const char *what);
/* Files below a folder of the store. */
int64_t stage_stored(const Stage *stage, const char *folder);

#endif
