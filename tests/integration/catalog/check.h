/* SPDX-License-Identifier: Apache-2.0
 * check.h — two sentences that every test of the catalogue says: it worked, it was refused so. */
#ifndef TESTS_INTEGRATION_CATALOG_CHECK_H
#define TESTS_INTEGRATION_CATALOG_CHECK_H

#include "tests/harness/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.cause, err.text);                                    \
    } while (0)

#define REFUSED(wanted, call)                                                                      \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (call)                                                                                  \
            fail_msg("%s was not refused", #call);                                                 \
        if (strcmp(err.cause, (wanted)) != 0)                                                      \
            fail_msg("%s: %s instead of %s: %s", #call, err.cause, (wanted), err.text);            \
    } while (0)

#endif
