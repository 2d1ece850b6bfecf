/* SPDX-License-Identifier: Apache-2.0
 * print.h — answers for eyes: tables, sizes, times, one-line progress. JSON goes out as it came. */
#ifndef SCHEDULER_CTL_PRINT_H
#define SCHEDULER_CTL_PRINT_H

#include "common/base/buf.h"

#include <jansson.h>
#include <stdio.h>

/* How a field of an item is shown. AGO and WHEN read RFC 3339; WHEN shows local time with its zone
 * (UTC with --utc). Text never moves a terminal (print_safe). */
typedef enum PrintAs {
    AS_TEXT,
    AS_BYTES,
    AS_COUNT,
    AS_WHEN,
    AS_AGO,
    AS_SECONDS,
    AS_RATE,
    AS_WIDE = 0x10, /* with one of these: only where there is room, or no eye that reads */
} PrintAs;

typedef struct PrintColumn {
    const char *title;
    const char *path; /* dotted: "progress.bytes_done" */
    PrintAs as;
} PrintColumn;

void print_table(FILE *out, const json_t *items, const PrintColumn *columns, size_t count,
                 bool utc);

/* A header of the columns' paths, then one line an item: numbers and times as they came, lists of
 * words joined by a blank; quoted as RFC 4180 says, lines ended by LF. */
void print_csv(FILE *out, const json_t *items, const PrintColumn *columns, size_t count);

/* One item as "title  value" lines; what is absent or an empty text is left out. */
void print_card(FILE *out, const json_t *item, const PrintColumn *columns, size_t count, bool utc);

void print_json(FILE *out, const json_t *value);      /* indented, for one document */
void print_json_line(FILE *out, const json_t *value); /* one line, flushed: NDJSON */

/* The value at a dotted path, NULL when it is absent or null. */
const json_t *print_at(const json_t *item, const char *path);
const char *print_text_at(const json_t *item, const char *path); /* "" when absent */
int64_t print_number_at(const json_t *item, const char *path);   /* 0 when absent */

void print_bytes(Buf *out, int64_t bytes);  /* "96.4 GiB" */
void print_span(Buf *out, int64_t seconds); /* "2d 0h", "14m", "41s" */

void print_when(Buf *out, const char *text, bool utc);

/* Text from outside: what would move a terminal or turn the direction of writing becomes \xNN or
 * \uNNNN. */
void print_safe(FILE *out, const char *text);
void print_add_safe(Buf *out, const char *text);

/* A text of several lines: as it is into a file, line by line print_safe on a terminal. */
void print_lines(FILE *out, const char *text);

#endif
