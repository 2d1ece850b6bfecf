/* SPDX-License-Identifier: Apache-2.0
 * catalog_view.h — what the API shows, as JSON text made by one statement each (sql/view_*.sql).
 * Lists are {"items":[…],"next_cursor":"…"|null}. Times are RFC 3339 UTC, sizes bytes, durations
 * seconds. Fields are those of protocol/api.def, ids in their text form (jb_…, bk_…). */
#ifndef COMMON_CATALOG_CATALOG_VIEW_H
#define COMMON_CATALOG_CATALOG_VIEW_H

#include "common/catalog/catalog.h"

typedef enum CatalogView {
    VIEW_STATUS = 1, /* fleet, verdict, attention, freshness of each source, running, plant */
    VIEW_DOCTOR,     /* what doctor judges: schema, workers, who serves what */
    VIEW_SOURCES,    /* source, type, since cursor */
    VIEW_SOURCE,     /* name */
    VIEW_DECISIONS,  /* source (name), job, limit, cursor */
    VIEW_JOBS,       /* source, state, kind, limit, cursor */
    VIEW_JOB,        /* job */
    VIEW_JOB_LOGS,   /* job, after, limit: {"items":[{"seq","at","level","event","text","attempt"}]}
                      */
    VIEW_JOB_ANSWER, /* job: the JSON a probe or restore left */
    VIEW_BACKUPS,    /* source, first…last (an id range), since, until, limit, cursor */
    VIEW_BACKUP,     /* first: the id */
    VIEW_WORKERS,    /* name */
    VIEW_QUEUES,
    VIEW_STORES,
    VIEW_SCHEDULE,     /* per schedule: last and source facts */
    VIEW_FORECAST,     /* places, limits and durations of all sources */
    VIEW_POLICIES,     /* cursor, limit: versions of the policy, newest first */
    VIEW_POLICY_FACTS, /* what fleet_compile_files and fleet_plan want to know: one object */
    VIEW_AUDIT,        /* after, limit */
    VIEW_AUDIT_BREAKS, /* empty items: the chain is whole */
    VIEW_TOKENS,
    VIEW_METRICS,       /* gauges of the plant: one flat object */
    VIEW_EVENTS,        /* after, cursor (ids "3,7" before it), limit: the outbox, ids ascending */
    VIEW_PROGRESS,      /* of every job that runs */
    VIEW_GRANTS,        /* restore grants, newest first */
    VIEW_DAMAGE,        /* name (of a store), limit: damaged packs and what they touch */
    VIEW_ORPHANS,       /* name (of a store), limit: objects in no row, and quarantine */
    VIEW_VERIFICATIONS, /* name (of a source): scheduled checks and how they are */
    VIEW_GROUPS,        /* name (of a group), state, since, until, limit: its barriers */
    VIEW_WINDOWS,       /* name (of a source), limit: what can be restored to any instant */
    VIEW_PROOFS,        /* name (of a source): the last proven restore of each */
    VIEW_NEWEST_GOOD,   /* source, until: {"backup", "passed_over": [{"backup", "why"}]} */
} CatalogView;

typedef struct ViewArgs {
    Text source, state, kind, name, cursor; /* empty: any */
    uint64_t job, after;                    /* 0: any */
    const Uuid *first, *last;               /* NULL: any */
    int64_t since_ns, until_ns;             /* 0: any */
    uint32_t limit;                         /* 0: 100; at most 1000 */
} ViewArgs;

/* ERR_MISSING view.nothing when the one thing asked for does not exist. */
MUST_CHECK bool catalog_view(Catalog *c, CatalogView view, const ViewArgs *args, Buf *json,
                             Err *err);

/* "orders-pg@latest~1", "@2026-11-20T18:00Z" and ids resolve here: the n-th newest good-or-partial
 * backup of the source that is consistent at or before `at_ns` (0: now). ERR_MISSING
 * backup.unknown. */
MUST_CHECK bool catalog_view_select(Catalog *c, Text source, int64_t at_ns, uint32_t back,
                                    Uuid *backup, Err *err);

#endif
