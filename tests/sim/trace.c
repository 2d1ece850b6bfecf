/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trace.h"

#include "tests/sim/vm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { LINES = 200, WIDTH = 400 };

static char lines[LINES][WIDTH];
static uint64_t written, digest;
static bool keeping, showing;

void trace_begin(bool keep, bool show)
{
    keeping = keep || show;
    showing = show;
    written = 0;
    digest = UINT64_C(0xcbf29ce484222325);
}

bool trace_on(void)
{
    return keeping;
}

void trace_line(const char *format, ...)
{
    char *line = lines[written++ % LINES];
    Process *process = vm_current_process();
    int len = snprintf(line, WIDTH, "%9.3f #%-6" PRIu64 " %-6s ", (double)vm_now() / 1e9,
                       vm_steps(), vm_name(process));
    va_list args;
    va_start(args, format);
    vsnprintf(line + len, WIDTH - (size_t)len, format, args);
    va_end(args);
    for (const char *at = line; *at != '\0'; at++)
        digest = (digest ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    if (showing)
        puts(line);
}

void trace_print(void)
{
    for (uint64_t i = written > LINES ? written - LINES : 0; i < written; i++)
        puts(lines[i % LINES]);
}

uint64_t trace_digest(void)
{
    return digest;
}
