/* SPDX-License-Identifier: Apache-2.0
 * crashpoint.h — places where a test may kill this process, as kill -9 would.
 * HOLDFAST_CRASHPOINT=n ends it at the n-th marked point that it passes; HOLDFAST_CRASHPOINT_ONLY
 * limits the count to names that begin so; HOLDFAST_CRASHPOINT_LOG names a file to which the points
 * passed are added, one a line. HOLDFAST_CRASHPOINT_HOW=stop: SIGSTOP instead, to go on later.
 * Without these variables a point costs one comparison. */
#ifndef COMMON_BASE_CRASHPOINT_H
#define COMMON_BASE_CRASHPOINT_H

#define CRASHPOINT(name) crashpoint_pass(name)

void crashpoint_pass(const char *name);

#endif
