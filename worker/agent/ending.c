/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/ending.h"

#include <stdio.h>

/* What the parent itself did to the child, as a verdict; false when it did nothing. */
static bool own_verdict(WorkStop stop, TasksVerdict *out)
{
    switch (stop) {
    case WORK_CANCELLED:
        *out = (TasksVerdict){.outcome = OUTCOME_CANCELLED,
                              .code = TEXT("cancelled"),
                              .cause = TEXT("job.cancelled"),
                              .text = TEXT("cancelled while it ran")};
        return true;
    case WORK_DRAIN:
        *out = (TasksVerdict){.outcome = OUTCOME_RELEASED,
                              .code = TEXT("none"),
                              .cause = TEXT("worker.drained"),
                              .text = TEXT("its worker was stopped; another one goes on")};
        return true;
    case WORK_STALLED:
        *out = (TasksVerdict){.outcome = OUTCOME_FAILED,
                              .code = TEXT("timeout"),
                              .cause = TEXT("job.stalled"),
                              .text = TEXT("no progress for as long as the policy's stall says; "
                                           "look at the source, or raise stall"),
                              .retry = true};
        return true;
    case WORK_TIMEOUT:
        *out = (TasksVerdict){.outcome = OUTCOME_FAILED,
                              .code = TEXT("timeout"),
                              .cause = TEXT("job.timeout"),
                              .text = TEXT("it ran longer than the policy's timeout; raise it, or "
                                           "make the source smaller"),
                              .retry = true};
        return true;
    case WORK_GO_ON:
    case WORK_FENCED:
        break;
    }
    return false;
}

static bool outcome_of(Text word, JobOutcome *out)
{
    static const char *const words[] = {
        [OUTCOME_COMPLETED] = "completed", [OUTCOME_PARTIAL] = "partial",
        [OUTCOME_FAILED] = "failed",       [OUTCOME_RELEASED] = "released",
        [OUTCOME_CANCELLED] = "cancelled",
    };
    for (JobOutcome outcome = OUTCOME_COMPLETED; outcome <= OUTCOME_CANCELLED; outcome++)
        if (text_equal(word, text_of(words[outcome]))) {
            *out = outcome;
            return true;
        }
    return false;
}

TasksVerdict ending_verdict(const Ending *ending, char text[ENDING_TEXT])
{
    TasksVerdict out = {.outcome = OUTCOME_FAILED, .code = TEXT("bug"), .retry = true};
    const JobVerdict *said = ending->verdict;
    if (said != NULL && outcome_of(said->outcome, &out.outcome)) {
        /* A watchdog's stop reads as the child's failure; we know the reason. */
        if (out.outcome == OUTCOME_FAILED && own_verdict(ending->stop, &out))
            return out;
        out.code = said->code;
        out.cause = said->cause;
        out.text = said->text;
        out.retry = said->retry;
        out.answer = said->answer;
        return out;
    }
    if (own_verdict(ending->stop, &out))
        return out;
    if (ending->failure->code != ERR_NONE) {
        out.code = text_of(err_name(ending->failure->code));
        out.cause = text_of(ending->failure->cause);
        out.text = text_of(ending->failure->text);
        out.retry = err_retry(ending->failure->code);
        return out;
    }
    snprintf(text, ENDING_TEXT,
             "the job process %s in phase %s and said nothing more; see its log, and the "
             "kernel's for want of memory",
             ending->died, ending->phase[0] == '\0' ? "start" : ending->phase);
    out.cause = TEXT("job.died");
    out.text = text_of(text);
    return out;
}
