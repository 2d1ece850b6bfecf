/* SPDX-License-Identifier: Apache-2.0
 * store_faulty.c — counts calls, and answers of what changed something, and fails one. */
#include "tests/harness/store_faulty.h"

#include "common/base/mem.h"

#include <pthread.h>

typedef struct Faulty {
    Store store;
    Store *inner;
    pthread_mutex_t lock;
    uint64_t counted[2], at; /* by Fault */
    Fault fault;
    bool hit;
} Faulty;

typedef struct FaultyPut {
    StorePut put;
    StorePut *inner;
} FaultyPut;

static Faulty *faulty_of(Store *s)
{
    return (Faulty *)s;
}

static bool now(Store *s, Fault fault, Err *err)
{
    Faulty *f = faulty_of(s);
    pthread_mutex_lock(&f->lock);
    f->counted[fault]++;
    bool hit = f->at != 0 && f->fault == fault && f->counted[fault] == f->at && !f->hit;
    f->hit = f->hit || hit;
    pthread_mutex_unlock(&f->lock);
    if (hit)
        err_set(err, ERR_IO, "store.faulty", "the store was told to fail here");
    return hit;
}

static bool faulty_begin(Store *s, const char *name, StorePut **out, Err *err)
{
    FaultyPut *put = mem_new(FaultyPut);
    put->put.store = s;
    if (now(s, FAULT_BEFORE, err) ||
        !store_put_begin(faulty_of(s)->inner, name, &put->inner, err)) {
        mem_free(put);
        return false;
    }
    *out = &put->put;
    return true;
}

static bool faulty_write(Store *s, StorePut *base, Slice bytes, Err *err)
{
    FaultyPut *put = (FaultyPut *)base;
    return !now(s, FAULT_BEFORE, err) && store_put_write(put->inner, bytes, err);
}

static bool faulty_finish(Store *s, StorePut *base, Err *err)
{
    FaultyPut *put = (FaultyPut *)base;
    bool good = !now(s, FAULT_BEFORE, err);
    if (good)
        good = store_put_finish(put->inner, err) && !now(s, FAULT_AFTER, err);
    else
        store_put_abort(put->inner);
    mem_free(put);
    return good;
}

static void faulty_abort(Store *s, StorePut *base)
{
    (void)s;
    FaultyPut *put = (FaultyPut *)base;
    store_put_abort(put->inner);
    mem_free(put);
}

static bool faulty_replace(Store *s, const char *name, Slice bytes, Err *err)
{
    return !now(s, FAULT_BEFORE, err) && store_replace(faulty_of(s)->inner, name, bytes, err) &&
           !now(s, FAULT_AFTER, err);
}

static bool faulty_alias(Store *s, const char *name, const char *target, bool *made, Err *err)
{
    return !now(s, FAULT_BEFORE, err) &&
           store_alias(faulty_of(s)->inner, name, target, made, err) && !now(s, FAULT_AFTER, err);
}

static bool faulty_get(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err)
{
    return !now(s, FAULT_BEFORE, err) &&
           store_get(faulty_of(s)->inner, name, most, found, out, err);
}

static bool faulty_get_range(Store *s, const char *name, uint64_t offset, size_t len, uint8_t *at,
                             Err *err)
{
    return !now(s, FAULT_BEFORE, err) &&
           store_get_range(faulty_of(s)->inner, name, offset, len, at, err);
}

static bool faulty_head(Store *s, const char *name, bool *found, uint64_t *size, Err *err)
{
    return !now(s, FAULT_BEFORE, err) && store_head(faulty_of(s)->inner, name, found, size, err);
}

static bool faulty_list(Store *s, const StoreListing *listing, Err *err)
{
    Store *inner = faulty_of(s)->inner;
    return !now(s, FAULT_BEFORE, err) && inner->ops->list(inner, listing, err);
}

static bool faulty_remove(Store *s, const char *name, Err *err)
{
    return !now(s, FAULT_BEFORE, err) && store_remove(faulty_of(s)->inner, name, err);
}

static bool faulty_sweep(Store *s, StoreSweep *sweep, Err *err)
{
    return !now(s, FAULT_BEFORE, err) && store_sweep(faulty_of(s)->inner, sweep, err);
}

static void faulty_close(Store *s)
{
    pthread_mutex_destroy(&faulty_of(s)->lock);
    mem_free(s);
}

static const StoreOps FAULTY_OPS = {
    "faulty",       faulty_begin,  faulty_write, faulty_finish,    faulty_abort,
    faulty_replace, faulty_alias,  faulty_get,   faulty_get_range, faulty_head,
    faulty_list,    faulty_remove, faulty_sweep, faulty_close,
};

Store *store_faulty_new(Store *inner)
{
    Faulty *f = mem_new(Faulty);
    f->store.ops = &FAULTY_OPS;
    f->inner = inner;
    f->store.removes = inner->removes;
    pthread_mutex_init(&f->lock, NULL);
    return &f->store;
}

void store_faulty_at(Store *store, uint64_t call, Fault fault)
{
    Faulty *f = faulty_of(store);
    f->counted[FAULT_BEFORE] = f->counted[FAULT_AFTER] = 0;
    f->hit = false;
    f->at = call;
    f->fault = fault;
}

bool store_faulty_hit(const Store *store)
{
    return ((const Faulty *)store)->hit;
}
