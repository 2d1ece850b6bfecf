/* SPDX-License-Identifier: Apache-2.0
 * holdfast-worker: `run` (the default) serves pools, `job` is what run starts for each job; `once`,
 * `key` and `repo` are offline verbs with options of their own, `wal-push` and `wal-fetch` are for
 * servers. */
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
#include "worker/wal/wal.h"

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
    .usage = "[run] [OPTION]... | once VERB | key VERB | repo VERB | wal-push PATH |\n"
             "       wal-fetch FILE PATH",
    .about = "Takes jobs from its pools and runs each in a process of its own; or, without\n"
             "Redis and PostgreSQL: once (list, restore, verify, export with a store and a\n"
             "key), key (create, enroll, check, rotate, retire, revoke), repo (create, rekey).\n"
             "wal-push, wal-fetch: archive_command and restore_command of a PostgreSQL server.\n"
             "`holdfast-worker once --help`, `key --help` and `wal-fetch --help` say more.",
    .config = "/etc/holdfast/worker.yaml",
    .rows = rows,
    .row_count = sizeof rows / sizeof rows[0],
};

/* What the options become; secrets are opened here and live as long as the process. */
typedef struct Setup Setup;
struct Setup {
    WorkerOptions options;
    OptionsEnd end;
    char host[256];
    Allow *allow;
    JobSettings settings;
    Secret *catalogue_password, *redis_password, *sentinel_password;
    int argc; /* of the words that were read, to read them again */
    char **argv;
    Setup *later; /* what each SIGHUP read, the newest first: all are kept, some is pointed at */
};

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static bool open_log(const WorkerOptions *options, bool set, Err *err)
{
    LogLevel level = LOG_INFO;
    LogFormat format = LOG_LOGFMT;
    if (!log_level_of(text_of(options->log_level), &level, err) ||
        !log_format_of(text_of(options->log_format), &format, err))
        return false;
    if (set)
        log_open(level, format, STDERR_FILENO);
    return true;
}

static bool read_options(Setup *setup, int argc, char **argv, bool first, Err *err)
{
    WorkerOptions *options = &setup->options;
    setup->argc = argc;
    setup->argv = argv;
    if (!options_read(&spec, argc, argv, options, &setup->end, err))
        return false;
    if (setup->end.done)
        return true;
    if (setup->end.rest < argc)
        return err_set(err, ERR_USAGE, "worker.verb",
                       "%.60s is no verb of holdfast-worker; see holdfast-worker --help",
                       argv[setup->end.rest]);
    if (!open_log(options, first, err) || !allow_parse(options->allow, &setup->allow, err))
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
        .key_passphrase = options->key_passphrase,
        .api = or_null(options->api),
        .api_ca = or_null(options->api_ca),
        .api_cert = or_null(options->api_cert),
        .api_key = or_null(options->api_key),
        .wal_spool = or_null(options->wal_spool),
        .memory_bytes = options->memory,
        .allow = setup->allow,
    };
    return true;
}

static void free_setup(Setup *setup)
{
    if (setup->later != NULL) {
        free_setup(setup->later);
        mem_free(setup->later);
    }
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

static bool check_slots(const WorkerOptions *options, Err *err)
{
    return (options->slots > 0 && options->slots <= 1000) ||
           err_set(err, ERR_USAGE, "worker.slots", "slots must be from 1 to 1000");
}

static bool prepare(Setup *setup, Err *err)
{
    const WorkerOptions *options = &setup->options;
    if (options->catalogue[0] == '\0')
        return err_set(err, ERR_USAGE, "worker.catalogue",
                       "catalogue is not set: name the PostgreSQL of the catalogue in worker.yaml");
    if (!check_slots(options, err))
        return false;
    if (mkdir(options->cache, 0700) != 0 && errno != EEXIST)
        return err_set_sys(err, ERR_IO, "worker.cache", "making the cache directory %s",
                           options->cache);
    return open_secret(setup, options->catalogue_password, &setup->catalogue_password, err) &&
           open_secret(setup, options->redis_password, &setup->redis_password, err) &&
           open_secret(setup, options->sentinel_password, &setup->sentinel_password, err);
}

/* What the agent may be told anew while it runs. */
static void fill_agent(const Setup *setup, AgentParams *params)
{
    const WorkerOptions *options = &setup->options;
    params->settings = &setup->settings;
    params->tags = options->tags;
    params->slots = options->slots;
    params->drain_ms = options->drain;
    params->kill_grace_ms = options->kill_grace;
    params->limits = (RunnerLimits){.files = options->limit_files,
                                    .memory = options->limit_memory,
                                    .file_bytes = options->limit_file_size,
                                    .processes = options->limit_processes};
}

static bool same_tree(const json_t *a, const json_t *b)
{
    return a == b || json_equal(a, b);
}

/* The name of the first option that changed and that a running worker cannot change; NULL: none. */
static const char *fixed_one(const WorkerOptions *was, const WorkerOptions *is)
{
    const struct {
        const char *name, *was, *is;
    } texts[] = {
        {"name", was->name, is->name},
        {"host", was->host, is->host},
        {"catalogue", was->catalogue, is->catalogue},
        {"redis", was->redis, is->redis},
        {"redis_ca", was->redis_ca, is->redis_ca},
        {"redis_cert", was->redis_cert, is->redis_cert},
        {"redis_key", was->redis_key, is->redis_key},
        {"cache", was->cache, is->cache},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i].was, texts[i].is) != 0)
            return texts[i].name;
    if (!same_tree(was->catalogue_password, is->catalogue_password))
        return "catalogue_password";
    if (!same_tree(was->redis_password, is->redis_password))
        return "redis_password";
    return same_tree(was->sentinel_password, is->sentinel_password) ? NULL : "sentinel_password";
}

/* Reads the file again into a setup of its own, and puts that in the place of the old one only when
 * all of it may be used. A job's child reads the file by itself: until a refused file is mended,
 * children go by it, or refuse it by name. */
static bool reload(void *ctx, AgentParams *fresh, Err *err)
{
    Setup *setup = ctx;
    Setup *next = mem_new(Setup);
    bool ok = read_options(next, setup->argc, setup->argv, false, err) &&
              check_slots(&next->options, err);
    const char *fixed = ok ? fixed_one(&setup->options, &next->options) : NULL;
    if (fixed != NULL)
        ok = err_set(err, ERR_USAGE, "worker.fixed",
                     "%s changes only when the worker is restarted; nothing of the new file is "
                     "used: restart it, or put %s back",
                     fixed, fixed);
    if (!ok) {
        free_setup(next);
        mem_free(next);
        return false;
    }
    next->later = setup->later;
    setup->later = next;
    fill_agent(next, fresh);
    return open_log(&next->options, true, err);
}

static bool run(Setup *setup, char *const *child_argv, Err *err)
{
    const WorkerOptions *options = &setup->options;
    if (!prepare(setup, err))
        return false;
    AgentParams params = {
        .catalog = {.conninfo = options->catalogue,
                    .password = setup->catalogue_password,
                    .application = "holdfast-worker"},
        .queue = {.url = text_of(options->redis),
                  .password = slice_or_empty(setup->redis_password),
                  .sentinel_password = slice_or_empty(setup->sentinel_password),
                  .ca_file = or_null(options->redis_ca),
                  .cert_file = or_null(options->redis_cert),
                  .key_file = or_null(options->redis_key)},
        .child_argv = child_argv,
        .config = setup->end.config == NULL ? "" : setup->end.config,
        .reload = reload,
        .reload_ctx = setup,
    };
    fill_agent(setup, &params);
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
    bool ok = read_options(&setup, option_count, options, true, &err);
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
    if (is_verb(argc, argv, "wal-push"))
        return wal_push_main(argc - 1, argv + 1);
    if (is_verb(argc, argv, "wal-fetch"))
        return wal_fetch_main(argc - 1, argv + 1);
    bool job = is_verb(argc, argv, "job");
    return serve(argc, argv, job || is_verb(argc, argv, "run"), job);
}
