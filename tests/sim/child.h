/* SPDX-License-Identifier: Apache-2.0
 * child.h — simulated job children: worker/agent/runner.h without fork. A child is a process of its
 * own that stages packs into a simulated store and commits, through the production patience
 * (worker/job/patient.h); it can die, hang, fail, be stopped, and outlive its lease. */
#ifndef TESTS_SIM_CHILD_H
#define TESTS_SIM_CHILD_H

#include "protocol/ids.h"
#include "tests/sim/net.h"

/* Habits of children, drawn by the world: of 1000. */
typedef struct ChildHabits {
    unsigned fails, fails_for_good, crashes, hangs, dies_after_commit;
    int64_t work_most_ns; /* the longest pause between two steps */
} ChildHabits;

void child_begin(void);
void child_habits(const ChildHabits *habits);

/* Children die with their parent (the kernel's promise), and are stopped with their host. */
void child_parent_killed(const Process *parent);
void child_host_stopped(const Host *host, bool stopped);
bool child_kill_one(void); /* any; false: there is none */

/* For the checker. */
typedef struct ChildView {
    const Process *parent, *process;
    uint64_t job, attempt;
    Uuid claim;
    bool alive;
    int64_t born_ns;
} ChildView;
size_t child_list(ChildView *out, size_t most);
bool child_stored(const Uuid *object, const Sha256 *sha256); /* is it whole in the store? */

#endif
