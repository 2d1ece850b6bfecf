/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"
#include "common/base/json.h"
#include "scheduler/plan/fleet_plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const int64_t NOW_S = 1795219200; /* Saturday 21 November 2026, 00:00 UTC */

static json_t *source(const char *at, const char *zone, bool initial)
{
    return json_pack("{s:s, s:b, s:{s:{s:s}}}", "timezone", zone, "initial", (int)initial,
                     "schedules", "default", "at", at);
}

/* A document with one source, or none where spec is NULL; spec is taken over. */
static json_t *document(const char *name, json_t *spec)
{
    json_t *sources = json_object();
    if (spec != NULL)
        json_object_set_new(sources, name, spec);
    return json_pack("{s:o}", "sources", sources);
}

/* What applying makes of it; all are taken over, known may be NULL. */
static json_t *planned(json_t *from, json_t *to, json_t *known)
{
    FleetPlanFacts facts = {.now_s = NOW_S, .sources = known};
    json_t *plan = fleet_plan(from, to, &facts);
    json_decref(from);
    json_decref(to);
    json_decref(known);
    return plan;
}

static const char *text_at(const json_t *plan, const char *list, const char *key)
{
    const json_t *rows = json_object_get(plan, list);
    assert_int_equal(json_array_size(rows), 1);
    const char *text = json_string_value(json_object_get(json_array_get(rows, 0), key));
    return text == NULL ? "null" : text;
}

static void another_rule_moves_the_next_slot(void **state)
{
    (void)state;
    json_t *plan = planned(document("a", source("0 2 * * *", "Europe/Berlin", false)),
                           document("a", source("30 3 * * *", "Europe/Berlin", false)), NULL);
    assert_string_equal(text_at(plan, "schedules", "change"), "moved");
    assert_string_equal(text_at(plan, "schedules", "before"), "2026-11-21T01:00:00.000Z");
    assert_string_equal(text_at(plan, "schedules", "after"), "2026-11-21T02:30:00.000Z");
    json_decref(plan);
}

static void another_zone_moves_it_too(void **state)
{
    (void)state;
    json_t *plan = planned(document("a", source("0 2 * * *", "Europe/Berlin", false)),
                           document("a", source("0 2 * * *", "UTC", false)), NULL);
    assert_string_equal(text_at(plan, "schedules", "after"), "2026-11-21T02:00:00.000Z");
    json_decref(plan);
}

static void an_excluded_day_is_not_due(void **state)
{
    (void)state;
    json_t *spec = source("0 2 * * *", "UTC", false);
    json_object_set_new(spec, "calendars", json_pack("{s:[s]}", "rest", "11-21..11-22"));
    json_t *plan =
        planned(document("a", source("0 2 * * *", "UTC", false)), document("a", spec), NULL);
    assert_string_equal(text_at(plan, "schedules", "before"), "2026-11-21T02:00:00.000Z");
    assert_string_equal(text_at(plan, "schedules", "after"), "2026-11-23T02:00:00.000Z");
    json_decref(plan);
}

static void a_rule_in_other_words_moves_nothing(void **state)
{
    (void)state;
    json_t *plan = planned(document("a", source("0 2 * * *", "UTC", false)),
                           document("a", source("0 2 * * sun-sat", "UTC", false)), NULL);
    assert_int_equal(json_array_size(json_object_get(plan, "changed")), 1);
    assert_int_equal(json_array_size(json_object_get(plan, "schedules")), 0);
    json_decref(plan);
}

static void a_new_source_starts_only_where_initial_is_said(void **state)
{
    (void)state;
    json_t *plan = planned(document("a", NULL), document("a", source("@daily", "UTC", true)), NULL);
    assert_int_equal(json_array_size(json_object_get(plan, "starts")), 1);
    assert_string_equal(text_at(plan, "schedules", "change"), "added");
    assert_string_equal(text_at(plan, "schedules", "before"), "null");
    json_decref(plan);
    plan = planned(document("a", NULL), document("a", source("@daily", "UTC", false)), NULL);
    assert_int_equal(json_array_size(json_object_get(plan, "starts")), 0);
    json_decref(plan);
}

static void a_source_that_was_there_once_starts_nothing(void **state)
{
    (void)state;
    json_t *known = json_pack("{s:{s:b}}", "a", "retired", 1);
    json_t *plan = planned(NULL, document("a", source("@daily", "UTC", true)), known);
    assert_int_equal(json_array_size(json_object_get(plan, "added")), 1);
    assert_int_equal(json_array_size(json_object_get(plan, "starts")), 0);
    json_decref(plan);
}

static void initial_on_a_source_that_stays_starts_nothing(void **state)
{
    (void)state;
    json_t *plan = planned(document("a", source("@daily", "UTC", false)),
                           document("a", source("@daily", "UTC", true)),
                           json_pack("{s:{s:b}}", "a", "retired", 0));
    assert_int_equal(json_array_size(json_object_get(plan, "changed")), 1);
    assert_int_equal(json_array_size(json_object_get(plan, "starts")), 0);
    json_decref(plan);
}

static void who_goes_says_what_is_cancelled_and_what_stays(void **state)
{
    (void)state;
    json_t *known =
        json_pack("{s:{s:b, s:i, s:i}}", "a", "retired", 0, "waiting", 2, "backups", 14);
    json_t *plan =
        planned(document("a", source("0 2 * * *", "UTC", true)), document("a", NULL), known);
    assert_string_equal(text_at(plan, "schedules", "change"), "removed");
    assert_string_equal(text_at(plan, "schedules", "after"), "null");
    assert_string_equal(text_at(plan, "cancels", "source"), "a");
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(plan, "cancels"), 0), "jobs")),
                     2);
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(plan, "keeps"), 0), "backups")),
                     14);
    json_decref(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_rule_moves_the_next_slot),
        cmocka_unit_test(another_zone_moves_it_too),
        cmocka_unit_test(an_excluded_day_is_not_due),
        cmocka_unit_test(a_rule_in_other_words_moves_nothing),
        cmocka_unit_test(a_new_source_starts_only_where_initial_is_said),
        cmocka_unit_test(a_source_that_was_there_once_starts_nothing),
        cmocka_unit_test(initial_on_a_source_that_stays_starts_nothing),
        cmocka_unit_test(who_goes_says_what_is_cancelled_and_what_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
