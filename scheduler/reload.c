/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/reload.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "scheduler/policy_file.h"

#include <pthread.h>

struct Reload {
    Loop *loop;
    const Setup *setup;
    Core *core;
    Server *server;
    pthread_t thread;
    bool at_it;
    bool again;
};

static void start(Reload *reload);

/* Back on the loop: the thread is at its end. */
static void on_done(void *ctx)
{
    Reload *reload = ctx;
    pthread_join(reload->thread, NULL);
    reload->at_it = false;
    core_wake(reload->core);
    if (reload->again)
        start(reload);
}

static void *run(void *ctx)
{
    Reload *reload = ctx;
    Err err = {0};
    Catalog *catalog = NULL;
    CatalogParams params = setup_catalog(reload->setup);
    if (!catalog_open(&catalog, &params, &err) ||
        !policy_file_apply(catalog, reload->setup->options.policy, true, &err))
        log_err("policy.failed", &err);
    catalog_close(catalog);
    loop_post(reload->loop, on_done, reload);
    return NULL;
}

static void start(Reload *reload)
{
    reload->again = false;
    reload->at_it = pthread_create(&reload->thread, NULL, run, reload) == 0;
    if (!reload->at_it)
        log_warn("policy.failed", "text=\"no thread to read it again\"");
}

Reload *reload_new(Loop *loop, const Setup *setup, Core *core, Server *server)
{
    Reload *reload = mem_new(Reload);
    *reload = (Reload){.loop = loop, .setup = setup, .core = core, .server = server};
    return reload;
}

void reload_ask(Reload *reload)
{
    Err err = {0};
    if (!server_reload(reload->server, &err))
        log_err("http.certificate_kept", &err);
    if (reload->at_it)
        reload->again = true;
    else
        start(reload);
}

void reload_free(Reload *reload)
{
    if (reload == NULL)
        return;
    if (reload->at_it) /* its last word is never heard: the loop has ended */
        pthread_join(reload->thread, NULL);
    mem_free(reload);
}
