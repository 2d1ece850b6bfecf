/* SPDX-License-Identifier: Apache-2.0
 * store.h — immutable named objects. A put is all or nothing and durable: after a crash the name is
 * absent or whole. A name is written once; only `replace` overwrites, for config, epoch and holds.
 * Names are parts of [A-Za-z0-9_-] and inner dots, joined by '/': nothing in one can leave the
 * store. Every function may be called from several threads at once. */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H

#include "common/base/buf.h"

enum { STORE_NAME_MOST = 200 };

typedef struct Store Store;

/* One object on its way: finish makes it durable under its name, abort leaves nothing. Both free.
 */
typedef struct StorePut {
    Store *store;
} StorePut;

typedef bool StoreVisit(void *ctx, const char *name, uint64_t size, Err *err);

/* What is listed: see store_list and store_list_names. */
typedef struct StoreListing {
    const char *prefix;
    const char *after; /* only greater names, byte by byte; NULL: all */
    bool names_only;   /* no size is needed: it may be 0 */
    StoreVisit *visit;
    void *ctx;
} StoreListing;

/* What puts that died left behind: no objects, only the room that they take. See store_sweep. */
typedef struct StoreSweep {
    int64_t age_ms; /* only what began so long ago, */
    bool look_only; /* and it is counted alone */
    /* Was what was on its way to that name ours? NULL: all below this store is. */
    bool (*ours)(void *ctx, const char *name, bool *ours, Err *err);
    void *ctx;
    uint64_t found, removed;
} StoreSweep;

/* No function is optional. */
typedef struct StoreOps {
    const char *scheme; /* "local" */
    bool (*put_begin)(Store *s, const char *name, StorePut **out, Err *err);
    bool (*put_write)(Store *s, StorePut *put, Slice bytes, Err *err);
    bool (*put_finish)(Store *s, StorePut *put, Err *err);
    void (*put_abort)(Store *s, StorePut *put);
    bool (*replace)(Store *s, const char *name, Slice bytes, Err *err);
    bool (*alias)(Store *s, const char *name, const char *target, bool *made, Err *err);
    bool (*get)(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err);
    bool (*get_range)(Store *s, const char *name, uint64_t offset, size_t len, uint8_t *at,
                      Err *err);
    bool (*head)(Store *s, const char *name, bool *found, uint64_t *size, Err *err);
    bool (*list)(Store *s, const StoreListing *listing, Err *err);
    bool (*remove)(Store *s, const char *name, Err *err);
    bool (*sweep)(Store *s, StoreSweep *sweep, Err *err);
    void (*close)(Store *s);
} StoreOps;

struct Store {
    const StoreOps *ops; /* first member of every driver's struct */
    bool removes;        /* store_let_remove was called */
};

/* A local directory. It must be there (store.missing: is it mounted?); nothing is created yet.
 * What goes wrong later has one of these names, each with its next step: store.full (no room,
 * quota), store.denied (rights, mounted read-only), store.gone (the root went away), store.damaged.
 */
MUST_CHECK bool store_local_open(Store **out, const char *path, Err *err);
void store_close(Store *store); /* NULL is fine */

/* ERR_CONFLICT store.exists when the name is taken. */
MUST_CHECK bool store_put(Store *s, const char *name, Slice bytes, Err *err);
MUST_CHECK bool store_put_begin(Store *s, const char *name, StorePut **out, Err *err);
MUST_CHECK bool store_put_write(StorePut *put, Slice bytes, Err *err);
MUST_CHECK bool store_put_finish(StorePut *put, Err *err);
void store_put_abort(StorePut *put); /* NULL is fine */

MUST_CHECK bool store_replace(Store *s, const char *name, Slice bytes, Err *err);

/* The name stands for the object `target` from now on, whatever it stood for before: for people,
 * who look for the newest. A link in a directory, which no listing and no function here follows; a
 * second object in S3, copied there. made false: this store can do neither. A name that is an
 * object of its own is refused (store.exists). */
MUST_CHECK bool store_alias(Store *s, const char *name, const char *target, bool *made, Err *err);

/* Whole, `most` bytes at most (store.large beyond). Not there is a result, not an error. */
MUST_CHECK bool store_get(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err);
/* Exactly len bytes; a missing or shorter object is ERR_CORRUPT store.damaged. */
MUST_CHECK bool store_get_range(Store *s, const char *name, uint64_t offset, size_t len,
                                uint8_t *at, Err *err);
MUST_CHECK bool store_head(Store *s, const char *name, bool *found, uint64_t *size, Err *err);
/* Every object whose name begins with prefix; a prefix ends with '/' or is empty. In no order; what
 * is there from beginning to end is visited once, what comes or goes meanwhile may be or not. visit
 * false ends it, with *err set. */
MUST_CHECK bool store_list(Store *s, const char *prefix, StoreVisit *visit, void *ctx, Err *err);
/* The same of names greater than `after` (NULL: all), byte by byte, and without their sizes, which
 * are given as 0: what is older or not asked for costs next to nothing. */
MUST_CHECK bool store_list_names(Store *s, const char *prefix, const char *after, StoreVisit *visit,
                                 void *ctx, Err *err);

/* Only a handle that was let to removes anything (else ERR_DENIED store.keeps): whoever backs up,
 * restores or verifies cannot delete by mistake. What the server allows is another matter. */
void store_let_remove(Store *s);
MUST_CHECK bool store_remove(Store *s, const char *name, Err *err); /* absent is fine */

/* Removes what puts left behind that ended without finish or abort: uploads in parts, files without
 * a name. What age_ms spares is younger by the clock of the store's server; a put that lives longer
 * than that fails, and leaves nothing. Only below this store, and only for who may remove. */
MUST_CHECK bool store_sweep(Store *s, StoreSweep *sweep, Err *err);

bool store_name_valid(const char *name);
/* "../../x.tar.gz": target from where `name` lies. */
void store_name_relative(const char *name, const char *target, Buf *out);

#endif
