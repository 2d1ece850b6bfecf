/* SPDX-License-Identifier: Apache-2.0
 * Any text as a rule. What is read has a next instant or says so, cron_prev leads back to where
 * cron_next came from, and the rule told without H is the same rule. */
#include "scheduler/plan/cron_words.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

static const int64_t NOW_S = 1795219200;

static void walk(const Cron *cron, const Zone *zone)
{
    int64_t at = NOW_S;
    for (int i = 0; i < 3; i++) {
        int64_t next;
        int64_t back;
        if (!cron_next(cron, zone, at, &next))
            return;
        if (next <= at || !cron_prev(cron, zone, next + 1, &back) || back != next)
            abort();
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static Zone *zone;
    Cron cron;
    Err err = {0};
    size_t column = 0;
    Text rule = {(const char *)bytes, size};
    scoped(buf_free) Buf fields = {0};
    scoped(buf_free) Buf words = {0};
    if (zone == NULL && !zone_open(&zone, TEXT("Europe/Berlin"), &err))
        abort();
    if (!cron_parse_at(rule, TEXT("orders"), &cron, &column, &err)) {
        if (err.text[0] == 0 || column > size + 1)
            abort();
        return 0;
    }
    walk(&cron, zone);
    cron_words_fields(rule, &cron, &fields);
    cron_words_told(&cron, &words);
    Cron again;
    if (words.len == 0 || !cron_parse(buf_text(&fields), TEXT("another"), &again, &err) ||
        again.minutes != cron.minutes || again.hours != cron.hours || again.days != cron.days ||
        again.months != cron.months || again.weekdays != cron.weekdays ||
        again.every_s != cron.every_s)
        abort();
    return 0;
}
