/* SPDX-License-Identifier: Apache-2.0
 * verify_internal.h — what the looks at objects and at contents share. Private to
 * common/repo/verify*.c. */
#ifndef COMMON_REPO_VERIFY_INTERNAL_H
#define COMMON_REPO_VERIFY_INTERNAL_H

#include "common/repo/repo_internal.h"
#include "common/repo/verify.h"

enum { VERIFY_THREADS = 8 };

/* How many threads look at once, and so many of them, the caller among them, running the same. */
unsigned verify_processors(void);
void verify_together(unsigned threads, void *(*run)(void *), void *ctx);

/* ERR_CORRUPT and ERR_MISSING speak of the object; anything else of the way to it. */
bool verify_about_object(const Err *err);

#endif
