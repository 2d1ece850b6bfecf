/* SPDX-License-Identifier: Apache-2.0
 * holdfast-scheduler — wires the core, the HTTP server and the API together, and nothing else. */
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/api/api.h"
#include "scheduler/api/feed.h"
#include "scheduler/core/core.h"
#include "scheduler/http/server.h"
#include "scheduler/policy_file.h"
#include "scheduler/reload.h"
#include "scheduler/setup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

typedef struct Daemon {
    Setup *setup;
    Loop *loop;
    Core *core;
    Reload *reload;
} Daemon;

/* The timers option as rows of the catalogue's settings. */
static bool apply_timers(Catalog *catalog, const json_t *timers, Err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)timers, name, value)
    {
        if (!json_is_number(value))
            return err_set(err, ERR_INVALID, "timers.invalid",
                           "timers.%s is not a number of seconds", name);
        if (!catalog_setting_set(catalog, text_of(name), json_number_value(value), err))
            return false;
    }
    return true;
}

/* The catalogue may come up after the scheduler: it is waited for, a wrong schema is not. */
static bool prepare(Daemon *self, Err *err)
{
    const SchedulerOptions *options = &self->setup->options;
    CatalogParams params = setup_catalog(self->setup);
    Catalog *catalog = NULL;
    bool made = false;
    for (int tries = 0; !catalog_open(&catalog, &params, err); tries++) {
        if (!err_retry(err->code) || tries == 60)
            return false;
        log_err("catalogue.waiting", err);
        *err = (Err){0};
        catalog_close(catalog);
        catalog = NULL;
        struct timespec pause = {1, 0};
        nanosleep(&pause, NULL);
    }
    bool done = apply_timers(catalog, options->timers, err) &&
                policy_file_apply(catalog, options->policy, false, err) &&
                (options->admin_token_file[0] == 0 ||
                 api_bootstrap_token(catalog, options->admin_token_file, &made, err));
    if (made)
        log_info("token.made", "role=admin file=%s", options->admin_token_file);
    catalog_close(catalog);
    return done;
}

/* A Redis that would lose tickets or lets nobody in is refused now. One that does not answer is
 * told and waited for by the core: slots fire and the API answers without it. */
static bool ask_redis(const Setup *setup, Err *err)
{
    QueueParams params = setup_queue(setup);
    QueueStatus status;
    Queue *queue = NULL;
    bool done = queue_open(&queue, &params, err) && queue_check(queue, &status, err);
    queue_close(queue);
    if (done || !err_retry(err->code))
        return done;
    log_err("redis.waiting", err);
    *err = (Err){0};
    return true;
}

static void on_signal(void *ctx, int number)
{
    Daemon *self = ctx;
    if (number == SIGHUP) {
        reload_ask(self->reload);
        return;
    }
    log_info("scheduler.stopping", "signal=%d", number);
    loop_stop(self->loop);
}

/* A token that crosses a network in the clear is anybody's. */
static void warn_of_plain(const SchedulerOptions *options)
{
    static const char *const own[] = {"127.", "[::1]", "localhost:"};
    char quoted[LOG_QUOTED];
    bool fine = options->tls_cert[0] != 0;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        fine = fine || strncmp(options->listen, own[i], strlen(own[i])) == 0;
    if (!fine)
        log_warn("http.plain", "listen=%s text=\"tokens cross the network unsealed: set tls_cert\"",
                 log_quote(text_of(options->listen), quoted));
}

static int serve(Daemon *self, const char *host, Err *err)
{
    const SchedulerOptions *options = &self->setup->options;
    Server *server = NULL;
    Feed *feed = NULL;
    CoreParams core = {.catalog = setup_catalog(self->setup),
                       .queue = setup_queue(self->setup),
                       .host = host,
                       .force_leader = options->force_leader};
    bool done = core_start(&self->core, &core, err) && feed_start(&feed, &core.catalog, err);
    ApiParams api = {.catalog = core.catalog, .core = self->core, .feed = feed};
    ServerParams http = {.listen = options->listen,
                         .tls_cert = setup_or_null(options->tls_cert),
                         .tls_key = setup_or_null(options->tls_key),
                         .tls_client_ca = setup_or_null(options->tls_client_ca),
                         .threads = options->threads,
                         .ctx = &api,
                         .thread_open = api_thread_open,
                         .thread_close = api_thread_close,
                         .handle = api_handle,
                         .stream_prefix = "/api/v1/streams/"};
    done = done && server_start(&server, self->loop, &http, err);
    if (done) {
        feed_open(feed, server);
        self->reload = reload_new(self->loop, self->setup, self->core, server);
        warn_of_plain(options);
        loop_signal(self->loop, SIGTERM, on_signal, self);
        loop_signal(self->loop, SIGINT, on_signal, self);
        loop_signal(self->loop, SIGHUP, on_signal, self);
        log_info("scheduler.started", "version=" HOLDFAST_VERSION " port=%d", server_port(server));
        loop_run(self->loop);
    }
    reload_free(self->reload);
    feed_stop(feed);
    server_stop(server);
    feed_free(feed);
    core_stop(self->core);
    return done ? 0 : err_exit_code(err->code);
}

static int run(Setup *setup, Err *err)
{
    char host[256] = "";
    Daemon self = {.setup = setup};
    int code;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0);
    gethostname(host, sizeof host - 1);
    if (!loop_new(&self.loop, err) || !ask_redis(setup, err) || !prepare(&self, err))
        code = err_exit_code(err->code);
    else
        code = serve(&self, host, err);
    loop_free(self.loop);
    return code;
}

static int print_openapi(void)
{
    scoped(buf_free) Buf text = {0};
    api_openapi_print(&text, true);
    puts(buf_cstr(&text));
    return 0;
}

int main(int argc, char **argv)
{
    Err err = {0};
    Setup setup;
    int code = 0;
    if (!setup_read(&setup, argc, argv, &err))
        code = err_exit_code(err.code);
    else if (!setup.end.done) {
        int count = argc - setup.end.rest;
        char **words = argv + setup.end.rest;
        if (count == 0 || strcmp(words[0], "run") == 0)
            code = run(&setup, &err);
        else if (strcmp(words[0], "migrate") == 0)
            code = setup_migrate(&setup, &err);
        else if (strcmp(words[0], "enroll") == 0)
            code = setup_enroll(&setup, count - 1, words + 1, &err);
        else if (strcmp(words[0], "openapi") == 0)
            code = print_openapi();
        else if (strcmp(words[0], "policy") == 0)
            code = policy_file_verb(count - 1, words + 1, &err);
        else
            code =
                err_set(&err, ERR_USAGE, "usage.verb", "there is no verb %s; see --help", words[0])
                    ? 0
                    : 2;
    }
    if (err.code != ERR_NONE)
        fprintf(stderr, "holdfast-scheduler: %s  [%s]\n", err.text, err.cause);
    setup_free(&setup);
    return code;
}
