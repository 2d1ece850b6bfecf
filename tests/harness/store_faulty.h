/* SPDX-License-Identifier: Apache-2.0
 * store_faulty.h — a Store around a Store that fails one call, for tests.
 * Lost answers are the harder half: the call is done and the caller is told that it failed. */
#ifndef TESTS_HARNESS_STORE_FAULTY_H
#define TESTS_HARNESS_STORE_FAULTY_H

#include "common/store/store.h"

typedef enum Fault {
    FAULT_BEFORE, /* nothing is done, the call fails */
    FAULT_AFTER,  /* it is done, and fails all the same */
} Fault;

/* Borrows inner. */
Store *store_faulty_new(Store *inner);
/* From now on the n-th call fails, or with FAULT_AFTER the n-th answer of a call that changed
 * something; 0: none does. */
void store_faulty_at(Store *store, uint64_t call, Fault fault);
/* Did a call fail since store_faulty_at? */
bool store_faulty_hit(const Store *store);

#endif
