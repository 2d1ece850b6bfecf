/* SPDX-License-Identifier: Apache-2.0
 * catalog_window.h — what policies say of time beyond their rules, and whether windows are open.
 * The catalogue knows no zones: a scheduler tells it, for each source and method, what holds until
 * when; the catalogue puts off what is due outside, takes its tickets back, asks runs to stop where
 * the policy wants that, and grants no claim while a window is shut. */
#ifndef COMMON_CATALOG_CATALOG_WINDOW_H
#define COMMON_CATALOG_CATALOG_WINDOW_H

#include "common/catalog/catalog.h"

/* A source with windows or calendars. */
typedef struct TimeRow {
    uint32_t source;
    char timezone[64];
    char *windows; /* JSON, as the policy has them: [{"hours":"22:00-06:00","days":["sat"],…}] */
    char *calendars; /* JSON: {"holidays":["12-25"]} */
    char *methods;   /* JSON: ["logical"], [""] of an engine without methods */
} TimeRow;

typedef struct TimeList {
    TimeRow *rows;
    size_t count;
} TimeList;

MUST_CHECK bool catalog_time_load(Catalog *c, TimeList *out, Err *err);
void catalog_time_free(TimeList *list);

typedef struct WindowRow {
    uint32_t source;
    Text method;
    bool open;
    int64_t since_ns; /* this is known from here */
    int64_t until_ns; /* to here, excluded; outside nothing starts */
    bool cancels;     /* shut, and what still runs is to stop */
    Text words;       /* why nothing may start; a line for people */
} WindowRow;

/* all: there are no others. Jobs that wait for an opening that is another one now are due again.
 * *taken false: the rows are those of a policy that is not in force any more; nothing was done. */
MUST_CHECK bool catalog_windows_keep(Catalog *c, uint64_t policy_mark, const WindowRow *rows,
                                     size_t count, bool all, bool *taken, Err *err);

typedef struct WindowsActed {
    int64_t now_ns;       /* the catalogue's clock */
    uint64_t policy_mark; /* as catalog_schedule_load gives it */
    uint32_t put_off;     /* jobs that wait for the opening now */
    uint32_t stopped;     /* runs that are asked to stop */
} WindowsActed;

/* Acts on the rows that are shut and not outdated. */
MUST_CHECK bool catalog_windows_act(Catalog *c, WindowsActed *out, Err *err);

/* Must a backup of this source by this method (empty: its own) not start now? *why says it, and is
 * empty where it may. */
MUST_CHECK bool catalog_source_shut(Catalog *c, Text source, Text method, Buf *why, Err *err);

#endif
