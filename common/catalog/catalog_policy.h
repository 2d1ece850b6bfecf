/* SPDX-License-Identifier: Apache-2.0
 * catalog_policy.h — the fleet's policy, as the scheduler compiled it from fleet.yaml.
 * The compiled document has every default merged into each source, so that SQL never resolves
 * anything; secrets are references. Applying replaces the whole policy in one transaction and
 * starts nothing: sources that are gone are retired (their waiting jobs are cancelled), a new
 * source's schedules begin now. Shape (all keys of a source below are required unless marked ?):
 * {"fleet":"acme-prod","files":[{"name":"fleet.yaml","text":"…as written…"}],
 *  "pools":{"fra":{"max_jobs":8}},
 *  "stores":{"nas":{"type":"local","path":"/srv/b",…}},
 *  "key_sets":["fleet-2026"],
 *  "policies":{"gold":{…for display only…}},
 *  "notify":{…}?,"budgets":{…}?,"ignore":[…]?,
 *  "sources":{"orders-pg":{
 *    "type":"postgresql","policy":"gold","owner":"payments"?,"labels":{}?,
 *    "pool":"fra"? | "host":"web3"?            neither: pool "default"
 *    "store":"nas","key_set":"fleet-2026"|null  null: plain
 *    "copies":[{"store":"nas","keep":{"daily":14,"within_s":604800}?,…}]?,   what stays (keep.h)
 *    "keep":{"full":{"keep":{…}}}?,"min_good":2?,     the same of single schedules
 *    "config":{…engine keys, method…},         becomes order.source.config
 *    "timezone":"Europe/Berlin","method":"logical"?,   what it does unless a job says otherwise
 *    "windows":[{"hours":"22:00-06:00","days":["sat"]?,"on_close":"cancel"?,"methods":[…]?}]?,
 *    "calendars":{"holidays":["12-25"]}?,      days without slots
 *    "schedules":{"default":{"at":"H 1 * * *","kind":"backup","method":null,"params":{}?}},
 *    "overlap":"skip"|"queue","catch_up":"latest"|"none","start_deadline_s":21600|null,
 *    "initial":false,"timeout_s":28800,"stall_s":600,
 *    "retry":{"attempts":3,"backoff_s":120,"max_backoff_s":1800,"jitter":"equal"|"none"},
 *    "compression":{"codec":"zstd","level":3},"rate":0,"dedup":"source"|"repository",
 *    "concurrent":2?,                          limit over the policy's sources
 *    "allow_partial":null|{…},"hooks":{}|null,
 *    "objectives":{"rpo_s":93600,"rto_s":3600}?,"verify":{…}?}}} */
#ifndef COMMON_CATALOG_CATALOG_POLICY_H
#define COMMON_CATALOG_CATALOG_POLICY_H

#include "common/catalog/catalog.h"

typedef struct PolicyApplied {
    uint64_t version; /* of the policy now in force */
    bool changed;     /* false: the same document was in force, nothing was done */
    uint32_t added, updated, retired, cancelled; /* sources; waiting jobs */
    uint32_t initial;                            /* jobs with trigger `initial` that were made */
    char digest[SHA256_TEXT];                    /* of the document */
} PolicyApplied;

/* Who applies, from where, why: for the version's row and the audit event. */
typedef struct PolicyBy {
    Text actor;     /* a token's name, or "scheduler" */
    Text kind;      /* user token system */
    Text via;       /* api, scheduler */
    Text client_ip; /* empty: none */
    Text reason;    /* empty: none */
} PolicyBy;

/* expected: digest the caller saw ("" = don't care); another one in force is ERR_CONFLICT
 * policy.changed (If-Match). */
MUST_CHECK bool catalog_policy_apply_by(Catalog *c, Text document, Text expected,
                                        const PolicyBy *by, PolicyApplied *out, Err *err);
/* The same for the machine itself: kind system, via scheduler. */
MUST_CHECK bool catalog_policy_apply(Catalog *c, Text document, Text expected, Text actor,
                                     PolicyApplied *out, Err *err);

/* The document in force, as it was applied; *found false: none yet. */
MUST_CHECK bool catalog_policy_load(Catalog *c, Buf *document, char digest[SHA256_TEXT],
                                    bool *found, Err *err);

typedef struct PolicyVersion {
    uint64_t number; /* 0: there is no such version */
    int64_t applied_ns;
    char digest[SHA256_TEXT];
    Buf document; /* the caller's */
    Buf actor, via, reason;
} PolicyVersion;

/* number 0: the one in force. */
MUST_CHECK bool catalog_policy_version(Catalog *c, uint64_t number, PolicyVersion *out, Err *err);
void catalog_policy_version_free(PolicyVersion *version); /* also for scoped() */

/* until_ns 0: for ever. ERR_MISSING source.unknown. Slots meanwhile become `skipped`. */
MUST_CHECK bool catalog_source_pause(Catalog *c, Text source, int64_t until_ns, Text reason,
                                     Text actor, Err *err);
MUST_CHECK bool catalog_source_resume(Catalog *c, Text source, Text reason, Text actor, Err *err);

/* Timers of the machine: every one is a row of `settings`; see 0001_base.sql for names and
 * defaults ("lease_s", "beat_s", "liveness_s", "looks_s", "grace_s", "mass_wait_s", "requeue_s",
 * "requeue_force_s", "loss_backoff_s", "max_losses", "leader_s", "defer_min_s", "defer_max_s").
 * An unknown name is ERR_MISSING setting.unknown. */
MUST_CHECK bool catalog_setting_set(Catalog *c, Text name, double value, Err *err);
MUST_CHECK bool catalog_setting_get(Catalog *c, Text name, double *value, Err *err);

#endif
