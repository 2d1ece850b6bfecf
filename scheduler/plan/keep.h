/* SPDX-License-Identifier: Apache-2.0
 * keep.h — which backups of one source in one copy are kept, each with its reasons, and which
 * expire. Pure: facts and an instant in, rulings out.
 *
 * Rules unite: what any of them keeps is kept. keep_last N is the newest N; keep_hourly, daily,
 * weekly, monthly and yearly N is the newest backup of each of the last N such periods that have
 * one; keep_within D is whatever lies within D before the newest. A copy's rules look at all of
 * its backups; a schedule's own rules look at those that it made, and unite with the copy's. A
 * backup that no rule is about (the copy has none, nor has its schedule) is kept for ever.
 *   - As with restic, and not with borg, each rule counts by itself: the newest seven dailies hold
 *     one or two of the weeklies too. Periods without a backup are not counted (both), so that a
 *     source which stopped keeps what it has; for the same reason keep_within is measured from the
 *     newest good backup, as restic's, and not from now, as borg's.
 *   - Periods are those of the source's time zone: days from midnight to midnight of its clocks,
 *     ISO weeks from Monday, months, years. An hour that clocks show twice is two hours. Clocks
 *     that go back over midnight do not open the day before once more.
 *   - Only good backups count (completed, read back, no failed check since). A partial one is kept
 *     until a newer good one is there. One whose check failed, or that nobody read back, satisfies
 *     no rule, but is kept for as long as it would be if it were good: a failed check must never
 *     delete anything, it may be the disk cable.
 * Whatever the rules say, these stay: the newest min_good good ones, at least one; the newest good
 * one that passed a content check; the newest of all, which the next one builds on; what is held,
 * locked or in use. And nothing at all expires while the copy is frozen: its source failed
 * KEEP_FAILURES times in a row or more, is under suspicion, or its repository was rebuilt or merged
 * and nobody has let retention go on.
 * A backup's instant is its consistency point, bounded by the catalogue's clock: a host whose clock
 * is a year ahead or back must not make the others look old. */
#ifndef SCHEDULER_PLAN_KEEP_H
#define SCHEDULER_PLAN_KEEP_H

#include "common/base/buf.h"
#include "scheduler/plan/zone.h"

#include <jansson.h>

/* Three: the retries of one run are one failure, so that three nights in a row went wrong. */
enum { KEEP_FAILURES = 3 };

/* Nobody reaches the year 2200; nanoseconds can still count it. */
#define KEEP_FOR_EVER_S INT64_C(7258118400)

typedef enum KeepRule {
    KEEP_LAST,
    KEEP_HOURLY,
    KEEP_DAILY,
    KEEP_WEEKLY,
    KEEP_MONTHLY,
    KEEP_YEARLY,
    KEEP_WITHIN,
    KEEP_RULES
} KeepRule;

/* How many of each; KEEP_WITHIN in seconds. 0: there is no such rule. */
typedef struct KeepRules {
    int64_t most[KEEP_RULES];
} KeepRules;

typedef struct KeepSchedule {
    Text name;
    KeepRules rules;
} KeepSchedule;

typedef struct KeepPolicy {
    KeepRules copy;
    KeepSchedule *schedules; /* those that have rules of their own; owned where keep_read made it */
    size_t schedule_count;
    int64_t min_good; /* at least 1 */
    int64_t lock_s;   /* nothing younger than this can be deleted; 0: no lock */
} KeepPolicy;

typedef enum KeepQuality {
    KEEP_GOOD = 1,
    KEEP_DOUBTFUL, /* completed; a check failed, or none was made */
    KEEP_PARTIAL,
} KeepQuality;

typedef struct KeepBackup {
    int64_t at_s; /* consistency point */
    int64_t started_s, committed_s;
    uint64_t sequence;
    Text schedule; /* empty: by hand */
    KeepQuality quality;
    bool proved;                          /* passed a check of its content, or a restore */
    bool in_use;                          /* a job reads it, or builds on it */
    int64_t held_until_s, locked_until_s; /* 0: not */
} KeepBackup;

typedef struct KeepFacts {
    int64_t now_s;
    const Zone *zone;
    uint64_t failures;      /* of its source, in a row, up to now */
    const char *suspicious; /* why; NULL: it is not */
    const char *frozen;     /* why; NULL: it is not */
} KeepFacts;

/* Bits of KeepRuling.why beside the rules. */
typedef enum KeepWhy {
    KEEP_BY_RULE = 1, /* copy or own say which */
    KEEP_BY_MIN_GOOD = 2,
    KEEP_BY_PROOF = 4,  /* the newest that passed a content check */
    KEEP_BY_NEWEST = 8, /* of all: the next one builds on it */
    KEEP_BY_HOLD = 16,
    KEEP_BY_LOCK = 32,
    KEEP_BY_USE = 64,
    KEEP_BY_NO_RULE = 128,
    KEEP_BY_NO_BETTER = 256, /* not good, and no newer good one is there */
    KEEP_BY_FREEZE = 512,    /* it would expire */
} KeepWhy;

/* Which of some rules keep a backup: its place among those that each keeps, from 1; 0: it does not.
 */
typedef struct KeepHits {
    int64_t place[KEEP_RULES];
} KeepHits;

typedef struct KeepRuling {
    unsigned why; /* 0: it expires */
    KeepHits copy, own;
    int64_t locked_until_s; /* of KEEP_BY_LOCK */
} KeepRuling;

/* rulings has a place for each backup, in whatever order these come. */
void keep_decide(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backups,
                 size_t count, KeepRuling *rulings);

/* Why nothing expires now; NULL: it may. Borrowed from facts, or written to words. */
const char *keep_frozen(const KeepFacts *facts, char words[80]);

/* "daily 3 of 7, weekly 1 of 4", or why it expires. */
void keep_words(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backup,
                const KeepRuling *ruling, Buf *out);

/* The rules of a compiled source (catalog_policy.h draws it) for what it has in this store, in a
 * repository or as plain copies; lock_s is the store's. A store that is none of its copies has no
 * rules. Schedules borrow their names from spec. */
void keep_read(const json_t *spec, Text store, bool plain, int64_t lock_s, KeepPolicy *out);
void keep_free(KeepPolicy *policy);

/* "last", "hourly", …; the policy's keys are these after keep_. */
const char *keep_rule_name(KeepRule rule);

#endif
