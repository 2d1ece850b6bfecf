/* SPDX-License-Identifier: Apache-2.0
 * holdfast-worker: `run` (the default) serves pools, `job` is what run starts for each job; `once`,
 * `key` and `repo` are offline verbs with options of their own. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/base/secret.h"
#include "worker/agent/agent.h"
#include "worker/job/channel.h"
#include "worker/job/child.h"
#include "worker/job/settings.h"
#include "worker/once/once.h"
#include "worker/vault/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct WorkerOptions {
#define OPTION(type, name, fallback, help) OPTIONS_TYPE_##type name;
#include "worker/options.def"
#undef OPTION
} WorkerOptions;

static const OptionsRow rows[] = {
#define OPTION(type, name, fallback, help) OPTIONS_ROW(WorkerOptions, type, name, fallback, help)
#include "worker/options.def"
#undef OPTION
};

static const OptionsSpec spec = {
    .program = "holdfast-worker",
    .usage = "[run] [OPTION]... | once VERB | key VERB | repo VERB",
    .about = "Takes jobs from its pools and runs each in a process of its own; or, without\n"
             "Redis and PostgreSQL: once (list, restore, verify, export with a store and a\n"
             "key), key (create, enroll), repo (create). `holdfast-worker once --help` says more.",
    .config = "/etc/holdfast/worker.yaml",
    .rows = rows,
    .row_count = sizeof rows / sizeof rows[0],
};

/* What the options become; secrets are opened here and live as long as the process. */
typedef struct Setup {
    WorkerOptions options;
    OptionsEnd end;
    char host[256];
    Allow *allow;
    JobSettings settings;
    Secret *catalogue_password, *redis_password, *sentinel_password;
} Setup;

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static bool open_log(const WorkerOptions *options, Err *err)
{
    LogLevel level = LOG_INFO;
    LogFormat format = LOG_LOGFMT;
    if (!log_level_of(text_of(options->log_level), &level, err) ||
        !log_format_of(text_of(options->log_format), &format, err))
        return false;
    log_open(level, format, STDERR_FILENO);
    return true;
}

static bool read_options(Setup *setup, int argc, char **argv, Err *err)
{
    WorkerOptions *options = &setup->options;
    if (!options_read(&spec, argc, argv, options, &setup->end, err))
        return false;
    if (setup->end.done)
        return true;
    if (setup->end.rest < argc)
        return err_set(err, ERR_USAGE, "worker.verb",
                       "%.60s is no verb of holdfast-worker; see holdfast-worker --help",
                       argv[setup->end.rest]);
    if (!open_log(options, err) || !allow_parse(options->allow, &setup->allow, err))
        return false;
    if (gethostname(setup->host, sizeof setup->host - 1) != 0)
        return err_set_sys(err, ERR_IO, "worker.host", "this host has no name; set host");
    const char *host = options->host[0] == '\0' ? setup->host : options->host;
    setup->settings = (JobSettings){
        .name = options->name[0] == '\0' ? host : options->name,
        .host = host,
        .catalogue = options->catalogue,
        .catalogue_password = options->catalogue_password,
        .credentials = options->credentials,
        .hooks = options->hooks,
        .cache = options->cache,
        .keys = options->keys,
        .api = or_null(options->api),
        .memory_bytes = options->memory,
        .allow = setup->allow,
    };
    return true;
}

static void free_setup(Setup *setup)
{
    secret_free(setup->catalogue_password);
    secret_free(setup->redis_password);
    secret_free(setup->sentinel_password);
    allow_free(setup->allow);
    options_free(&spec, &setup->options, &setup->end);
}

static bool open_secret(const Setup *setup, const json_t *reference, Secret **out, Err *err)
{
    SecretScope scope = {.credentials = setup->options.credentials, .daemon = true};
    return reference == NULL || secret_resolve(reference, &scope, out, err);
}

static Slice slice_or_empty(const Secret *secret)
{
    return secret == NULL ? (Slice){0} : secret_slice(secret);
}

static int give_up(const Err *err)
{
    fprintf(stderr, "holdfast-worker: %s [%s]\n", err->text, err->cause);
    return err_exit_code(err->code);
}

/* --- run ------------------------------------------------------------------------------------ */

static bool prepare(Setup *setup, Err *err)
{
    const WorkerOptions *options = &setup->options;
    if (options->catalogue[0] == '\0')
        return err_set(err, ERR_USAGE, "worker.catalogue",
                       "catalogue is not set: name the PostgreSQL of the catalogue in worker.yaml");
    if (options->slots == 0 || options->slots > 1000)
        return err_set(err, ERR_USAGE, "worker.slots", "slots must be from 1 to 1000");
    if (mkdir(options->cache, 0700) != 0 && errno != EEXIST)
        return err_set_sys(err, ERR_IO, "worker.cache", "making the cache directory %s",
                           options->cache);
    return open_secret(setup, options->catalogue_password, &setup->catalogue_password, err) &&
           open_secret(setup, options->redis_password, &setup->redis_password, err) &&
           open_secret(setup, options->sentinel_password, &setup->sentinel_password, err);
}

static bool run(Setup *setup, char *const *child_argv, Err *err)
{
    const WorkerOptions *options = &setup->options;
    if (!prepare(setup, err))
        return false;
    AgentParams params = {
        .settings = &setup->settings,
        .tags = options->tags,
        .catalog = {.conninfo = options->catalogue,
                    .password = setup->catalogue_password,
                    .application = "holdfast-worker"},
        .queue = {.url = text_of(options->redis),
                  .password = slice_or_empty(setup->redis_password),
                  .sentinel_password = slice_or_empty(setup->sentinel_password),
                  .ca_file = or_null(options->redis_ca),
                  .cert_file = or_null(options->redis_cert),
                  .key_file = or_null(options->redis_key)},
        .slots = options->slots,
        .child_argv = child_argv,
        .config = setup->end.config == NULL ? "" : setup->end.config,
        .drain_ms = options->drain,
        .kill_grace_ms = options->kill_grace,
    };
    return agent_run(&params, err);
}

/* --- job ------------------------------------------------------------------------------------ */

static int run_job(const Setup *setup)
{
    /* A core of it, or a debugger, would hold keys and content. */
    prctl(PR_SET_DUMPABLE, 0);
    (void)fcntl(CHANNEL_ORDER_FD, F_SETFD, FD_CLOEXEC);
    (void)fcntl(CHANNEL_REPORT_FD, F_SETFD, FD_CLOEXEC);
    return child_run(CHANNEL_ORDER_FD, CHANNEL_REPORT_FD, &setup->settings);
}

/* --- main ----------------------------------------------------------------------------------- */

static bool is_verb(int argc, char **argv, const char *verb)
{
    return argc > 1 && strcmp(argv[1], verb) == 0;
}

/* The same options with the verb `job`, for the children. */
static char **child_words(int argc, char **argv, bool verb)
{
    static char job[] = "job";
    char **words = mem_array(char *, (size_t)argc + 2);
    size_t count = 0;
    words[count++] = argv[0];
    words[count++] = job;
    for (int i = verb ? 2 : 1; i < argc; i++)
        words[count++] = argv[i];
    return words;
}

static int serve(int argc, char **argv, bool verb, bool job)
{
    Setup setup = {0};
    Err err = {0};
    char **words = child_words(argc, argv, verb);
    int option_count = verb ? argc - 1 : argc;
    char **options = verb ? argv + 1 : argv; /* its first word is not read */
    bool ok = read_options(&setup, option_count, options, &err);
    int status = 0;
    if (ok && !setup.end.done && job)
        status = run_job(&setup);
    else if (ok && !setup.end.done)
        ok = run(&setup, words, &err);
    if (!ok)
        status = give_up(&err);
    free_setup(&setup);
    mem_free(words);
    return status;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (is_verb(argc, argv, "once"))
        return once_main(argc - 1, argv + 1);
    if (is_verb(argc, argv, "key") || is_verb(argc, argv, "repo"))
        return vault_main(argc - 1, argv + 1);
    bool job = is_verb(argc, argv, "job");
    return serve(argc, argv, job || is_verb(argc, argv, "run"), job);
}
