/* SPDX-License-Identifier: Apache-2.0
 * ctl.h — the functions behind verbs.def. Each asks the API, prints the answer on stdout and sets
 * the exit code where it is not 0; a failure is an Err, printed once by main. */
#ifndef SCHEDULER_CTL_CTL_H
#define SCHEDULER_CTL_CTL_H

#include "scheduler/ctl/client.h"
#include "scheduler/ctl/print.h"

typedef struct Ctl {
    const Args *args;
    Client *client; /* NULL for verbs that ask nobody */
    int exit_code;
} Ctl;

#define VERB(symbol, ...) MUST_CHECK bool ctl_##symbol(Ctl *ctl, Err *err);
#include "scheduler/ctl/verbs.def"
#undef VERB

/* -o: is JSON asked for? */
bool ctl_wants_json(const Ctl *ctl);

/* Prints a list as asked: a table of `columns` (without the wide ones, or with), JSON, lines of
 * JSON or of values, or one name a line; of --fields only these. */
void ctl_list(const Ctl *ctl, const json_t *items, const PrintColumn *columns, size_t count,
              const char *name_path);
void ctl_card(const Ctl *ctl, const json_t *item, const PrintColumn *columns, size_t count);

/* --limit as a number. */
MUST_CHECK bool ctl_limit(const Ctl *ctl, size_t usual, size_t *limit, Err *err);

/* Appends "?name=value" or "&name=value" when value is not NULL. */
void ctl_query(Buf *path, const char *name, const char *value);

/* The n-th word after the verb, or an error that shows the verb's form. */
MUST_CHECK bool ctl_word(const Ctl *ctl, size_t n, const char **word, Err *err);

/* A job that was just made: says so, and follows it when --follow or --wait is given. */
MUST_CHECK bool ctl_started(Ctl *ctl, const json_t *jobs, Err *err);
/* The same of the one job that a request makes. */
MUST_CHECK bool ctl_start(Ctl *ctl, const char *verb, const char *path, const json_t *body,
                          Err *err);

/* --dry-run: says what would be done to a thing that was only looked at. `what`: "back up". */
void ctl_would(const Ctl *ctl, const char *what, const json_t *thing, const char *name_path);

/* What became of the thing that the first word names: its state, after what is said of it. */
void ctl_outcome(const Ctl *ctl, const json_t *answer, const char *said);

/* Asks for a probe, waits for it and prints its checks; what is not well is the exit code 1. cause:
 * of one that failed itself. body is taken over, and may be NULL. */
MUST_CHECK bool ctl_try(Ctl *ctl, const char *path, json_t *body, const char *cause, Err *err);

/* "latest~3" -> 3; false when it is not of that form. */
bool ctl_steps_back(const char *when, long *steps);

/* The backup that a selector names: an id, a unique prefix, SOURCE, SOURCE@latest, SOURCE@latest~N,
 * SOURCE@TIME (the newest that is consistent at or before it). *backup is the caller's. */
MUST_CHECK bool ctl_select(Ctl *ctl, const char *selector, json_t **backup, Err *err);

#endif
