/* SPDX-License-Identifier: Apache-2.0
 * log.h — one line, one event: a stable event name, then key=value. logfmt or JSON, by setting.
 * Libraries return an Err and do not log; the roots log each failure once. A value that came from
 * outside goes through log_quote. A line is one write(2), so lines of processes never mix. */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include "protocol/err.h"

#include <stdio.h>

typedef enum LogLevel { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;
typedef enum LogFormat { LOG_LOGFMT, LOG_JSON } LogFormat;

/* Before the first line; without it: info and above, logfmt, to stderr. */
void log_open(LogLevel level, LogFormat format, int fd);
MUST_CHECK bool log_level_of(Text text, LogLevel *level, Err *err);
MUST_CHECK bool log_format_of(Text text, LogFormat *format, Err *err);

/* A prefix of every later line of this thread: "job=jb_0000012 attempt=2"; NULL takes it away.
 * The string must live as long as it is set. */
void log_context(const char *fields);

#define log_debug(event, ...) log_line(LOG_DEBUG, (event), __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, (event), __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_WARN, (event), __VA_ARGS__)
#define log_error(event, ...) log_line(LOG_ERROR, (event), __VA_ARGS__)
void log_line(LogLevel level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

/* code, cause, text and place of a failure, at level error (warn when it may be retried). */
void log_err(const char *event, const Err *err);

enum { LOG_QUOTED = 512 };
/* A value as logfmt writes it: quoted where needed, control bytes escaped, cut at the end of out.
 */
const char *log_quote(Text text, char out[LOG_QUOTED]);

#endif
