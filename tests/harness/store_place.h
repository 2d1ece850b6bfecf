/* SPDX-License-Identifier: Apache-2.0
 * store_place.h — a place for objects behind a store, and what can befall it. One kind for each
 * implementation of Store; the contract suite runs against every row of STORE_KINDS. */
#ifndef TESTS_HARNESS_STORE_PLACE_H
#define TESTS_HARNESS_STORE_PLACE_H

#include "common/store/store.h"

typedef struct StorePlace StorePlace;

/* No function is optional; those that return bool say false where this machine cannot do it. */
typedef struct StoreKind {
    const char *name;
    /* An empty place. small: with room for some MiB, if fill or freeze are to be called. */
    StorePlace *(*begin)(bool small);
    bool (*open)(StorePlace *place, Store **out, Err *err);
    void (*away)(StorePlace *place, bool away);     /* unmounted, unreachable; and back */
    void (*destroy)(StorePlace *place);             /* deleted under an open store */
    bool (*fill)(StorePlace *place, bool full);     /* no room for 4 MiB; and room again */
    bool (*freeze)(StorePlace *place, bool frozen); /* nothing can be written */
    void (*end)(StorePlace *place);
} StoreKind;

extern const StoreKind store_place_s3;
extern const StoreKind *const STORE_KINDS[];
extern const size_t STORE_KIND_COUNT;

#endif
