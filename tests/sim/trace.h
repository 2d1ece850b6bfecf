/* SPDX-License-Identifier: Apache-2.0
 * trace.h — the history as lines: the last ones are kept, and shown when an invariant breaks. */
#ifndef TESTS_SIM_TRACE_H
#define TESTS_SIM_TRACE_H

#include "protocol/err.h"

/* keep: remember lines; show: print each as it happens. Without either a line costs nothing. */
void trace_begin(bool keep, bool show);
bool trace_on(void);
void trace_line(const char *format, ...) PRINTF_LIKE(1, 2);
#define trace(...)                                                                                 \
    do {                                                                                           \
        if (trace_on())                                                                            \
            trace_line(__VA_ARGS__);                                                               \
    } while (0)
void trace_print(void); /* what is remembered, oldest first */

/* A digest of every line since trace_begin: two runs of a seed must agree. */
uint64_t trace_digest(void);

/* wraps.c: forgets who waited. */
void wraps_reset(void);

#endif
