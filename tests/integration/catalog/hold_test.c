/* SPDX-License-Identifier: Apache-2.0
 * How long a dead worker may stay unfound, on a virtual clock and the default timers. */
#include "common/catalog/catalog_policy.h"
#include "tests/harness/virtual_clock.h"
#include "tests/integration/catalog/check.h"

#include <math.h>

enum { LEASE_S = 60, BEAT_S = 15, GRACE_S = 90, LOOKS_S = 15 };

typedef struct World {
    Fleet *fleet;
    Catalog *scheduler;
    FleetWorker worker;
    int64_t now_ms;
} World;

static void pass(World *w, int64_t seconds)
{
    w->now_ms += seconds * 1000;
    virtual_clock_set(w->scheduler, w->now_ms);
}

static World begin(void)
{
    static const struct {
        const char *name;
        double value;
    } timers[] = {
        {"lease_s", LEASE_S}, {"beat_s", BEAT_S}, {"grace_s", GRACE_S}, {"looks_s", LOOKS_S}};
    World w = {.fleet = fleet_start(), .now_ms = INT64_C(1767225600000)};
    virtual_clock_begin(w.fleet, "holdfast_scheduler");
    w.scheduler = fleet_connect(w.fleet, "holdfast_scheduler");
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
        OK(catalog_setting_set(w.scheduler, text_of(timers[i].name), timers[i].value, &err));
    pass(&w, 0);
    fleet_policy(w.fleet, 1, "");
    w.worker = fleet_worker(w.fleet, "w1", false);
    return w;
}

static void end(World *w)
{
    fleet_worker_close(&w->worker);
    catalog_close(w->scheduler);
    fleet_stop(w->fleet);
}

static size_t reaped(World *w)
{
    ReapReport report;
    OK(catalog_reap(w->scheduler, &report, &err));
    size_t count = report.count;
    catalog_reap_free(&report);
    return count;
}

/* The seconds until its job is another's, while somebody reconnects every so often. 0: never. */
static int64_t found_after(World *w, int64_t reconnect_s)
{
    (void)fleet_claim(&w->worker, fleet_ticket(w->fleet, "s1"));
    for (int64_t s = 1; s <= 1200; s++) {
        pass(w, 1);
        if (reconnect_s != 0 && s % reconnect_s == 0)
            OK(catalog_reap_hold(w->scheduler, INFINITY, &err));
        if (reaped(w) != 0)
            return s;
    }
    return 0;
}

static void a_dead_worker_is_found_after_its_lease_and_two_looks(void **state)
{
    World w = begin();
    (void)state;
    assert_in_range(found_after(&w, 0), LEASE_S + LOOKS_S, LEASE_S + LOOKS_S + 2);
    end(&w);
}

static void a_scheduler_that_comes_and_goes_does_not_hide_the_dead(void **state)
{
    World w = begin();
    (void)state;
    assert_in_range(found_after(&w, 20), LEASE_S + LOOKS_S, 2 * GRACE_S + LEASE_S + LOOKS_S);
    end(&w);
}

static void a_first_reconnect_gives_everybody_time_to_beat(void **state)
{
    World w = begin();
    (void)state;
    (void)fleet_claim(&w.worker, fleet_ticket(w.fleet, "s1"));
    pass(&w, 10 * LEASE_S);
    OK(catalog_reap_hold(w.scheduler, INFINITY, &err));
    for (int64_t s = 0; s < GRACE_S; s++) {
        assert_int_equal(reaped(&w), 0);
        pass(&w, 1);
    }
    end(&w);
}

/* A beat that came during such a silence, had it come, would still have kept the lease. */
static void a_short_silence_hides_nobody(void **state)
{
    World w = begin();
    (void)state;
    (void)fleet_claim(&w.worker, fleet_ticket(w.fleet, "s1"));
    pass(&w, LEASE_S + LOOKS_S);
    OK(catalog_reap_hold(w.scheduler, LEASE_S - BEAT_S - 1, &err));
    assert_int_equal(reaped(&w), 0); /* the first look */
    pass(&w, LOOKS_S + 1);
    assert_int_equal(reaped(&w), 1);
    end(&w);
}

static void a_silence_as_long_as_a_lease_gives_everybody_time_to_beat(void **state)
{
    World w = begin();
    (void)state;
    (void)fleet_claim(&w.worker, fleet_ticket(w.fleet, "s1"));
    pass(&w, 10 * LEASE_S);
    OK(catalog_reap_hold(w.scheduler, LEASE_S - BEAT_S, &err));
    for (int64_t s = 0; s < GRACE_S; s++) {
        assert_int_equal(reaped(&w), 0);
        pass(&w, 1);
    }
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_worker_is_found_after_its_lease_and_two_looks),
        cmocka_unit_test(a_scheduler_that_comes_and_goes_does_not_hide_the_dead),
        cmocka_unit_test(a_first_reconnect_gives_everybody_time_to_beat),
        cmocka_unit_test(a_short_silence_hides_nobody),
        cmocka_unit_test(a_silence_as_long_as_a_lease_gives_everybody_time_to_beat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
