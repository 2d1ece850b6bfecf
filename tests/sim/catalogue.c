/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/catalogue.h"

#include "common/base/mem.h"
#include "tests/sim/trace.h"

enum { GHOST_MOST = 2048 };

typedef struct Ghost {
    CatalogueGhost *run;
    uint32_t worker;
    uint64_t incarnation;
    const char *what;
    Process *process;
    _Alignas(16) uint8_t args[GHOST_MOST];
} Ghost;

struct Catalog {
    uint32_t worker;
    uint64_t incarnation; /* of the server it is connected to */
    bool ok;
    int64_t timeout_ns, connect_ns;
    int64_t deadline_ns;
    const char *what;
    Ghost *ghost; /* of the call that is about to be made; NULL: none */
};

static struct {
    Model model, standby;
    bool up, has_standby;
    uint64_t incarnation;
    int64_t skew_ns, up_since;
    unsigned busy;
    CatalogueHook *hook;
} server;

static double server_random(void)
{
    return (double)vm_draw(1000000) / 1e6;
}

static Uuid server_uuid(void)
{
    Uuid id;
    vm_random(id.bytes, sizeof id.bytes);
    return uuid_random(id.bytes);
}

int64_t catalogue_now_us(void)
{
    return (vm_wall(NULL) + server.skew_ns) / 1000;
}

void catalogue_begin(void)
{
    model_begin(&server.model);
    server.model.random = server_random;
    server.model.random_uuid = server_uuid;
    server.up = true;
    server.has_standby = false;
    server.incarnation = 1;
    server.skew_ns = 0;
    server.up_since = 0;
    server.busy = 0;
    server.hook = NULL;
    server.model.now = catalogue_now_us();
    server.model.started_at = server.model.now - INT64_C(3600000000);
}

Model *catalogue_model(void)
{
    server.model.now = catalogue_now_us();
    return &server.model;
}

void catalogue_hook(CatalogueHook *hook)
{
    server.hook = hook;
}

/* --- faults ---------------------------------------------------------------------------------- */

void catalogue_down(void)
{
    server.up = false;
    server.incarnation++;
}

void catalogue_up(void)
{
    server.up = true;
    server.up_since = vm_now();
    server.model.started_at = catalogue_now_us();
}

void catalogue_standby_stops(void)
{
    model_copy(&server.standby, &server.model);
    server.has_standby = true;
}

void catalogue_failover(void)
{
    server.incarnation++;
    if (server.has_standby)
        model_copy(&server.model, &server.standby);
    catalogue_up();
}

void catalogue_skew(int64_t skew_ns)
{
    server.skew_ns = skew_ns;
}

void catalogue_busy(unsigned of_1000)
{
    server.busy = of_1000;
}

bool catalogue_is_up(void)
{
    return server.up;
}

int64_t catalogue_up_since(void)
{
    return server.up_since;
}

/* --- a call ---------------------------------------------------------------------------------- */

uint32_t catalogue_worker(const Catalog *c)
{
    return c->worker;
}

static bool unreachable(Catalog *c, Err *err)
{
    vm_inside();
    c->ok = false;
    return err_set(err, ERR_UNREACHABLE, "catalogue.unreachable", "the connection broke");
}

static bool timed_out(Catalog *c, Err *err)
{
    vm_inside();
    c->ok = false;
    return err_set(err, ERR_TIMEOUT, "catalogue.timeout", "%s took too long", c->what);
}

void catalogue_ghost(Catalog *c, CatalogueGhost *run, const void *args, size_t size)
{
    if (size > GHOST_MOST)
        return;
    c->ghost = mem_new(Ghost);
    *c->ghost = (Ghost){.run = run, .worker = c->worker, .process = vm_current_process()};
    memcpy(c->ghost->args, args, size);
}

static void walk(void *ctx)
{
    Ghost *ghost = ctx;
    if (server.up && ghost->incarnation == server.incarnation) {
        trace("a late %s is served", ghost->what);
        server.model.now = catalogue_now_us();
        ghost->run(&server.model, ghost->worker, ghost->args);
        if (server.hook != NULL)
            server.hook(ghost->process, ghost->what);
    }
    mem_free(ghost);
}

/* The sender gave up; what it sent may still be on its way. */
static void release(Catalog *c, bool under_way)
{
    Ghost *ghost = c->ghost;
    c->ghost = NULL;
    if (ghost == NULL)
        return;
    ghost->what = c->what;
    ghost->incarnation = c->incarnation;
    if (under_way && vm_chance(500))
        vm_at(vm_now() + vm_between(1, 8000) * VM_MS, walk, ghost);
    else
        mem_free(ghost);
}

/* One message over the link; false when the deadline passed on the way. */
static bool carry(const Link *link, const bool *cut, int64_t deadline_ns)
{
    int64_t delay = net_delay(link);
    bool late = vm_now() + delay > deadline_ns;
    vm_outside(late ? deadline_ns - vm_now() : delay);
    while (*cut && vm_now() < deadline_ns)
        vm_sleep(50 * VM_MS < deadline_ns - vm_now() ? 50 * VM_MS : deadline_ns - vm_now());
    return !late && vm_now() < deadline_ns;
}

bool catalogue_ask(Catalog *c, const char *what, Err *err)
{
    const Link *link = &net_host(vm_current_process())->catalogue;
    c->what = what;
    if (!c->ok) {
        release(c, false);
        return err_set(err, ERR_UNREACHABLE, "catalogue.unreachable", "not connected");
    }
    c->deadline_ns = vm_now() + c->timeout_ns;
    bool arrived = carry(link, &link->cut_to, c->deadline_ns);
    release(c, !arrived);
    if (!arrived)
        return timed_out(c, err);
    if (!server.up || c->incarnation != server.incarnation || vm_chance(link->drops))
        return unreachable(c, err);
    if (vm_chance(server.busy)) {
        vm_inside();
        return err_set(err, ERR_BUSY, "catalogue.busy", "a lock was not free in time");
    }
    server.model.now = catalogue_now_us();
    return true;
}

bool catalogue_answer(Catalog *c, bool done, Err *err)
{
    const Link *link = &net_host(vm_current_process())->catalogue;
    if (server.hook != NULL)
        server.hook(vm_current_process(), c->what);
    bool broken = vm_chance(link->drops);
    if (!carry(link, &link->cut_from, c->deadline_ns))
        return timed_out(c, err);
    if (broken || !server.up || c->incarnation != server.incarnation)
        return unreachable(c, err);
    vm_inside();
    return done;
}

/* --- catalog.h ------------------------------------------------------------------------------- */

/* conninfo is "scheduler" or the number of a worker. */
bool catalog_open(Catalog **out, const CatalogParams *params, Err *err)
{
    Catalog *c = mem_new(Catalog);
    for (const char *at = params->conninfo; *at >= '0' && *at <= '9'; at++)
        c->worker = c->worker * 10 + (uint32_t)(*at - '0');
    c->timeout_ns = (params->timeout_ms == 0 ? 30000 : params->timeout_ms) * VM_MS;
    c->connect_ns = (params->connect_timeout_s == 0 ? 5 : params->connect_timeout_s) * VM_S;
    *out = c;
    if (catalog_reset(c, err))
        return true;
    catalog_close(c);
    *out = NULL;
    return false;
}

bool catalog_ok(const Catalog *c)
{
    return c->ok;
}

bool catalog_reset(Catalog *c, Err *err)
{
    const Link *link = &net_host(vm_current_process())->catalogue;
    int64_t deadline = vm_now() + c->connect_ns;
    c->what = "connect";
    if (!carry(link, &link->cut_to, deadline) || !carry(link, &link->cut_from, deadline) ||
        !server.up || vm_chance(link->drops))
        return unreachable(c, err);
    c->incarnation = server.incarnation;
    c->ok = true;
    vm_inside();
    return true;
}

void catalog_close(Catalog *c)
{
    mem_free(c);
}
