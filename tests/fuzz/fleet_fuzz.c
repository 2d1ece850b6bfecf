/* SPDX-License-Identifier: Apache-2.0
 * Any text as a fleet file, and as several: a line "--- NAME" begins another. Text that begins with
 * '{' is a bundle as clients send it. Whatever is said of it, it must be said again in the same
 * words, and a file that is right compiles to a document that differs from itself in nothing. */
#include "common/base/json.h"
#include "scheduler/plan/fleet_bundle.h"
#include "scheduler/plan/fleet_diff.h"
#include "scheduler/plan/fleet_plan.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

enum { FILES_MOST = 8, NAME_MOST = 40 };

static const int64_t NOW_S = 1795219200;

/* Facts that make every warning possible. */
static json_t *facts_json(void)
{
    return json_pack("{s:{s:i}, s:{s:I}, s:{s:{s:i}}}", "seconds", "a", 1260, "stored", "a",
                     (json_int_t)1 << 33, "places", "default", "workers", 1);
}

static bool said(const FleetFile *files, size_t count, const FleetFacts *facts, Buf *words,
                 Buf *document)
{
    YamlProblems problems = {0};
    FleetCount counted = {0};
    bool good = fleet_compile_files(files, count, facts, document, &counted, &problems);
    if (good != (problems.errors == 0) || good != (document->len != 0))
        abort();
    yaml_problems_print(&problems, words);
    fleet_summary("input", &counted, &problems, words);
    json_t *list = yaml_problems_json(&problems);
    if (json_array_size(list) != problems.count)
        abort();
    json_decref(list);
    yaml_problems_free(&problems);
    return good;
}

static void compare(const Buf *document)
{
    json_t *compiled = NULL;
    Err err = {0};
    FleetPlanFacts facts = {.now_s = NOW_S};
    if (!json_parse(buf_text(document), &compiled, &err))
        abort();
    json_t *same = fleet_plan(compiled, compiled, &facts);
    json_t *fresh = fleet_plan(NULL, compiled, &facts);
    if (!fleet_diff_empty(same) || json_array_size(json_object_get(same, "schedules")) != 0 ||
        json_array_size(json_object_get(fresh, "added")) !=
            json_object_size(json_object_get(compiled, "sources")))
        abort();
    json_decref(same);
    json_decref(fresh);
    json_decref(compiled);
}

/* Years of slots take their time: one text in thirty-two has a clock, and one in four is read
 * twice; which ones hangs on their length, so that a text always gets the same. */
static void read(const FleetFile *files, size_t count, size_t len)
{
    bool clock = len % 32 == 0;
    bool twice = len % 4 == 0;
    json_t *owner = facts_json();
    FleetFacts facts = {.now_s = clock ? NOW_S : 0,
                        .seconds = json_object_get(owner, "seconds"),
                        .stored = json_object_get(owner, "stored"),
                        .places = json_object_get(owner, "places")};
    scoped(buf_free) Buf words = {0};
    scoped(buf_free) Buf again = {0};
    scoped(buf_free) Buf document = {0};
    scoped(buf_free) Buf second = {0};
    bool good = said(files, count, &facts, &words, &document);
    if (twice && (good != said(files, count, &facts, &again, &second) ||
                  !text_equal(buf_text(&words), buf_text(&again)) ||
                  !text_equal(buf_text(&document), buf_text(&second))))
        abort();
    if (good)
        compare(&document);
    json_decref(owner);
}

static void read_bundle(Text text)
{
    FleetBundle bundle;
    Err err = {0};
    if (fleet_bundle_read(text, &bundle, &err))
        read(bundle.files, bundle.count, text.len);
    fleet_bundle_free(&bundle);
}

/* The line that begins the next file, from `at` on; text.len where there is none. */
static size_t next_mark(Text text, size_t at)
{
    for (; at + 4 < text.len; at++)
        if ((at == 0 || text.at[at - 1] == '\n') && memcmp(text.at + at, "--- ", 4) == 0)
            return at;
    return text.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Text text = {(const char *)bytes, size};
    char names[FILES_MOST][NAME_MOST] = {"fleet.yaml"};
    FleetFile files[FILES_MOST];
    size_t count = 1;
    size_t at = next_mark(text, 0);
    files[0] = (FleetFile){names[0], {text.at, at}};
    if (size != 0 && bytes[0] == '{')
        read_bundle(text);
    while (at < text.len && count < FILES_MOST) {
        size_t from = at + 4;
        size_t len = 0;
        while (from + len < text.len && text.at[from + len] != '\n' && len < NAME_MOST - 1)
            len++;
        memcpy(names[count], text.at + from, len);
        from += len + (from + len < text.len);
        at = next_mark(text, from);
        files[count] = (FleetFile){names[count], {text.at + from, at - from}};
        count++;
    }
    read(files, count, size);
    return 0;
}
