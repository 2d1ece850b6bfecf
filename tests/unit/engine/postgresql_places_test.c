/* SPDX-License-Identifier: Apache-2.0
 * postgresql_places_test.c — where a physical backup's tablespaces go, and what is refused. */
#include "worker/engine/postgresql_places.h"

#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Two tablespaces, 16384 at /srv/fast and 16390 at "/srv/a=b". */
static json_t *request_of(const char *path, const char *map)
{
    json_t *request = json_pack("{s:{s:s}, s:{s:s, s:[{s:i, s:s}, {s:i, s:s}]}}", "target", "path",
                                path, "details", "method", "physical", "tablespaces", "oid", 16384,
                                "location", "/srv/fast", "oid", 16390, "location", "/srv/a=b");
    assert_non_null(request);
    if (*map != 0) {
        json_t *spaces = json_loads(map, JSON_DECODE_ANY, NULL);
        assert_non_null(spaces);
        json_object_set_new(json_object_get(request, "target"), "tablespaces", spaces);
    }
    return request;
}

static void each_goes_where_it_is_told_or_beside(void **state)
{
    static const struct {
        const char *path, *map, *first, *second;
    } rows[] = {
        {"/r/data", "", "/r/data.tablespace-16384", "/r/data.tablespace-16390"},
        {"/r/data//", "{}", "/r/data.tablespace-16384", "/r/data.tablespace-16390"},
        {"/r/data", "{\"/srv/fast\":\"/new/fast/\"}", "/new/fast", "/r/data.tablespace-16390"},
        {"/r/data", "{\"16384\":\"/new/fast\",\"/srv/a=b\":\"/new/b\"}", "/new/fast", "/new/b"},
        {"/r/data", "{\"16390\":\"/r/data2\"}", "/r/data.tablespace-16384", "/r/data2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = {0};
        PostgresqlPlaces places;
        json_t *request = request_of(rows[i].path, rows[i].map);
        if (!postgresql_places_of(request, &places, &err))
            fail_msg("%zu: %s", i, err.text);
        assert_int_equal(places.count, 3);
        assert_string_equal(places.at[0].path.at, "/r/data");
        assert_int_equal(places.at[0].prefix.len, 0);
        assert_string_equal(places.at[1].path.at, rows[i].first);
        assert_string_equal(places.at[2].path.at, rows[i].second);
        assert_true(text_equal(places.at[1].prefix, TEXT("pg_tblspc/16384/")));
        assert_int_equal(places.at[2].oid, 16390);
        postgresql_places_free(&places);
        json_decref(request);
    }
}

static void what_cannot_be_meant_is_refused(void **state)
{
    static const struct {
        const char *path, *map, *cause, *words;
    } rows[] = {
        {"", "", "target.path", "absolute"},
        {"r/data", "", "target.path", "absolute"},
        {"/", "", "target.path", "absolute"},
        {"/r/../etc", "", "target.path", "'..'"},
        {"/r/data", "[]", "target.tablespaces", "mapped as"},
        {"/r/data", "{\"/srv/fas\":\"/new\"}", "target.tablespaces", "16384 (/srv/fast)"},
        {"/r/data", "{\"16385\":\"/new\"}", "target.tablespaces", "16390 (/srv/a=b)"},
        {"/r/data", "{\"16384\":\"new\"}", "target.tablespaces", "absolute directory"},
        {"/r/data", "{\"16384\":7}", "target.tablespaces", "absolute directory"},
        {"/r/data", "{\"16384\":\"/n/../x\"}", "target.tablespaces", "absolute directory"},
        {"/r/data", "{\"16384\":\"/a\",\"/srv/fast\":\"/a\"}", "target.tablespaces", "twice"},
        {"/r/data", "{\"16384\":\"/a\",\"16390\":\"/a\"}", "target.tablespaces_meet", "is in"},
        {"/r/data", "{\"16384\":\"/a\",\"16390\":\"/a/b\"}", "target.tablespaces_meet",
         "tablespace 16390 would be restored to /a/b, which is in tablespace 16384"},
        {"/r/data", "{\"16384\":\"/r/data\"}", "target.tablespaces_meet", "the data directory"},
        {"/r/data", "{\"16384\":\"/r/data/x\"}", "target.tablespaces_meet", "the data directory"},
        {"/r/data", "{\"16384\":\"/r\"}", "target.tablespaces_meet", "the data directory would"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = {0};
        PostgresqlPlaces places;
        json_t *request = request_of(rows[i].path, rows[i].map);
        if (postgresql_places_of(request, &places, &err))
            fail_msg("%zu was not refused", i);
        assert_null(places.at);
        assert_string_equal(err.cause, rows[i].cause);
        if (strstr(err.text, rows[i].words) == NULL)
            fail_msg("%zu: %s", i, err.text);
        json_decref(request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goes_where_it_is_told_or_beside),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
