/* SPDX-License-Identifier: Apache-2.0
 * catalogue_window.c — catalog_window.h on the simulated server. */
#include "common/base/mem.h"
#include "tests/sim/catalogue.h"
#include "tests/sim/trace.h"
#include "tests/sim/world.h"

#include <stdio.h>

/* Every window but the minutes that are shut. */
static char *windows_of(const ModelSource *source)
{
    scoped(buf_free) Buf out = {0};
    const char *close = source->cancels ? "cancel" : "finish";
    int32_t from = source->shut_from, until = source->shut_until;
    buf_printf(&out, "[");
    if (from != until && from != 0)
        buf_printf(&out, "{\"hours\":\"00:00-%02d:%02d\",\"on_close\":\"%s\"},", from / 60,
                   from % 60, close);
    if (from != until)
        buf_printf(&out, "{\"hours\":\"%02d:%02d-24:00\",\"on_close\":\"%s\"}", until / 60,
                   until % 60, close);
    buf_printf(&out, "]");
    return mem_text(buf_text(&out));
}

bool catalog_time_load(Catalog *c, TimeList *out, Err *err)
{
    *out = (TimeList){0};
    if (!catalogue_ask(c, "time_load", err))
        return false;
    const Model *m = catalogue_model();
    out->rows = mem_array(TimeRow, m->sources.count);
    for (size_t i = 0; i < m->sources.count; i++) {
        const ModelSource *source = &m->sources.rows[i];
        char days[64] = "{}";
        if (source->retired_at != 0 ||
            (source->shut_from == source->shut_until && source->excluded == NULL))
            continue;
        if (source->excluded != NULL)
            snprintf(days, sizeof days, "{\"holidays\":[\"%s\"]}", source->excluded);
        out->rows[out->count++] = (TimeRow){.source = (uint32_t)i + 1,
                                            .timezone = "UTC",
                                            .windows = windows_of(source),
                                            .calendars = mem_text(text_of(days)),
                                            .methods = mem_text(TEXT("[\"\"]"))};
    }
    return catalogue_answer(c, true, err);
}

void catalog_time_free(TimeList *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->rows[i].windows);
        mem_free(list->rows[i].calendars);
        mem_free(list->rows[i].methods);
    }
    mem_free(list->rows);
    *list = (TimeList){0};
}

bool catalog_windows_keep(Catalog *c, uint64_t policy_mark, const WindowRow *rows, size_t count,
                          bool all, bool *taken, Err *err)
{
    if (!catalogue_ask(c, "windows_keep", err))
        return false;
    *taken = model_windows_keep(catalogue_model(), policy_mark, rows, count, all);
    for (size_t i = 0; *taken && i < count; i++)
        trace("window source=%u %s", rows[i].source, rows[i].open ? "open" : "shut");
    if (*taken && all)
        check_windows_told();
    return catalogue_answer(c, true, err);
}

bool catalog_windows_act(Catalog *c, WindowsActed *out, Err *err)
{
    *out = (WindowsActed){0};
    if (!catalogue_ask(c, "windows_act", err))
        return false;
    model_windows_act(catalogue_model(), out);
    if (out->put_off != 0 || out->stopped != 0)
        trace("windows put_off=%u stopped=%u", out->put_off, out->stopped);
    return catalogue_answer(c, true, err);
}
