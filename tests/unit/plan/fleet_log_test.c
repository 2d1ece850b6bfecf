/* SPDX-License-Identifier: Apache-2.0
 * The source that a source's log becomes. */
#include "scheduler/plan/fleet_log.h"

#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void slot_of(const char *name, char out[80])
{
    scoped(json_release) json_t *sources = json_object();
    scoped(json_release) json_t *compiled =
        json_pack("{s:{s:s, s:s}, s:[]}", "config", "wal", "stream", "host", "db1", "copies");
    scoped(buf_free) Buf own = {0};
    fleet_log_add(name, compiled, sources);
    buf_printf(&own, "%s-wal", name);
    const json_t *config = json_object_get(json_object_get(sources, buf_cstr(&own)), "config");
    snprintf(out, 80, "%s", json_string_value(json_object_get(config, "slot")));
}

static void a_slot_is_named_as_its_source_where_a_server_takes_that(void **state)
{
    char slot[80];
    (void)state;
    slot_of("shop_1", slot);
    assert_string_equal(slot, "holdfast_shop_1");
}

/* Two names that a server would not tell apart, or of which it would take the same beginning. */
static void no_two_sources_share_a_slot(void **state)
{
    static const char *const names[] = {
        "shop",
        "Shop",
        "SHOP",
        "shop-1",
        "shop.1",
        "shop_1",
        "sh\xc3\xb6p",
        "a-source-with-a-name-that-is-longer-than-a-server-takes-for-a-slot-one",
        "a-source-with-a-name-that-is-longer-than-a-server-takes-for-a-slot-two",
    };
    enum { COUNT = sizeof names / sizeof *names };
    char slots[COUNT][80];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        slot_of(names[i], slots[i]);
        assert_in_range(strlen(slots[i]), 10, 63);
        assert_int_equal(strspn(slots[i], "abcdefghijklmnopqrstuvwxyz0123456789_"),
                         strlen(slots[i]));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(slots[i], slots[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_is_named_as_its_source_where_a_server_takes_that),
        cmocka_unit_test(no_two_sources_share_a_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
