/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/lifecycle.h"

static const struct {
    const char *name;
    bool terminal;
} states[JOB_STATE_COUNT] = {
#define STATE(symbol, name, terminal, meaning) [JOB_##symbol] = {name, terminal},
#define MOVE(...)
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
};

static const struct {
    JobState from;
    JobEvent event;
    JobState to;
} moves[] = {
#define STATE(...)
#define MOVE(from, event, to, why) {JOB_##from, EVENT_##event, JOB_##to},
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
};
enum { MOVE_COUNT = sizeof moves / sizeof *moves };

bool lifecycle_move(JobState from, JobEvent event, JobState *to)
{
    for (size_t i = 0; i < MOVE_COUNT; i++)
        if (moves[i].from == from && moves[i].event == event) {
            *to = moves[i].to;
            return true;
        }
    return false;
}

bool lifecycle_leads(JobState from, JobState to)
{
    for (size_t i = 0; i < MOVE_COUNT; i++)
        if (moves[i].from == from && moves[i].to == to)
            return true;
    return false;
}

bool lifecycle_terminal(JobState state)
{
    return states[state].terminal;
}

const char *lifecycle_name(JobState state)
{
    return states[state].name;
}

bool lifecycle_parse(Text name, JobState *state)
{
    for (JobState i = 0; i < JOB_STATE_COUNT; i++)
        if (text_equal(name, text_of(states[i].name))) {
            *state = i;
            return true;
        }
    return false;
}
