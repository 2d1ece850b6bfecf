/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/setup.h"

#include "common/base/log.h"
#include "common/catalog/catalog_enroll.h"
#include "common/catalog/catalog_migrate.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const OptionsRow rows[] = {
#define OPTION(type, name, fallback, help) OPTIONS_ROW(SchedulerOptions, type, name, fallback, help)
#include "scheduler/options.def"
#undef OPTION
};

static const OptionsSpec spec = {
    .program = "holdfast-scheduler",
    .usage = "[OPTION]... [run | migrate | enroll NAME | policy VERB | openapi]",
    .about = "Turns policies and time into jobs, dispatches them, serves the API.\n"
             "  run      (the default) until SIGTERM\n"
             "  migrate  makes or upgrades the catalogue's schema, as the administrator\n"
             "  enroll   makes a worker's login and registration:\n"
             "           enroll NAME [--host H] [--pools a,b] [--sources s,t] [--reader]\n"
             "           [--prune] [--password-file F]\n"
             "  policy check FILE  finds every error in a fleet file, asking no server\n"
             "  policy schema      prints its JSON Schema, for editors\n"
             "  openapi  prints what the REST API takes and gives, as OpenAPI 3.1",
    .config = "/etc/holdfast/scheduler.yaml",
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
};

static bool resolve(const json_t *reference, const SecretScope *scope, Secret **out, Err *err)
{
    *out = NULL;
    return reference == NULL || secret_resolve(reference, scope, out, err);
}

bool setup_read(Setup *setup, int argc, char **argv, Err *err)
{
    LogLevel level;
    LogFormat format;
    SchedulerOptions *options = &setup->options;
    *setup = (Setup){0};
    if (!options_read(&spec, argc, argv, options, &setup->end, err))
        return false;
    if (setup->end.done)
        return true;
    SecretScope scope = {.credentials = options->credentials, .daemon = true};
    if (!log_level_of(text_of(options->log_level), &level, err) ||
        !log_format_of(text_of(options->log_format), &format, err))
        return false;
    log_open(level, format, STDERR_FILENO);
    return resolve(options->catalogue_password, &scope, &setup->catalogue_password, err) &&
           resolve(options->admin_password, &scope, &setup->admin_password, err) &&
           resolve(options->redis_password, &scope, &setup->redis_password, err) &&
           resolve(options->sentinel_password, &scope, &setup->sentinel_password, err);
}

void setup_free(Setup *setup)
{
    secret_free(setup->catalogue_password);
    secret_free(setup->admin_password);
    secret_free(setup->redis_password);
    secret_free(setup->sentinel_password);
    options_free(&spec, &setup->options, &setup->end);
}

CatalogParams setup_catalog(const Setup *setup)
{
    return (CatalogParams){.conninfo = setup->options.catalogue,
                           .password = setup->catalogue_password,
                           .application = "holdfast-scheduler"};
}

CatalogParams setup_admin(const Setup *setup)
{
    bool own = setup->options.admin[0] != 0;
    return (CatalogParams){.conninfo = own ? setup->options.admin : setup->options.catalogue,
                           .password = own ? setup->admin_password : setup->catalogue_password,
                           .application = "holdfast-scheduler migrate"};
}

const char *setup_or_null(const char *text)
{
    return text[0] == 0 ? NULL : text;
}

static Slice secret_or_none(const Secret *secret)
{
    return secret == NULL ? (Slice){0} : secret_slice(secret);
}

QueueParams setup_queue(const Setup *setup)
{
    return (QueueParams){.url = text_of(setup->options.redis),
                         .password = secret_or_none(setup->redis_password),
                         .sentinel_password = secret_or_none(setup->sentinel_password),
                         .ca_file = setup_or_null(setup->options.redis_ca),
                         .cert_file = setup_or_null(setup->options.redis_cert),
                         .key_file = setup_or_null(setup->options.redis_key)};
}

int setup_migrate(Setup *setup, Err *err)
{
    Catalog *admin = NULL;
    MigrateReport report = {0};
    CatalogParams params = setup_admin(setup);
    bool done = catalog_migrate_open(&admin, &params, err) && catalog_migrate(admin, &report, err);
    if (done && setup->catalogue_password != NULL && setup->options.admin[0] != 0)
        done = catalog_migrate_password(admin, setup->catalogue_password, err);
    catalog_close(admin);
    if (done)
        printf("schema %u -> %u\n", report.before, report.after);
    return done ? 0 : err_exit_code(err->code);
}

enum { NAMES_MOST = 64 };

/* "a,b" as Texts. */
static size_t names_of(const char *list, Text names[NAMES_MOST])
{
    size_t count = 0;
    for (const char *at = list; at != NULL && *at != 0 && count < NAMES_MOST;) {
        size_t len = strcspn(at, ",");
        if (len != 0)
            names[count++] = (Text){at, len};
        at += len;
        at += *at == ',';
    }
    return count;
}

int setup_enroll(Setup *setup, int count, char **args, Err *err)
{
    char host[256] = "";
    const char *password_file = NULL;
    Text pools[NAMES_MOST];
    Text sources[NAMES_MOST];
    Secret *password = NULL;
    Catalog *admin = NULL;
    EnrollParams enroll = {.pools = pools, .sources = sources};
    bool done = true;
    gethostname(host, sizeof host - 1);
    for (int i = 0; done && i < count; i++) {
        bool more = i + 1 < count;
        if (strcmp(args[i], "--reader") == 0)
            enroll.reader = true;
        else if (strcmp(args[i], "--prune") == 0)
            enroll.pruner = true;
        else if (strcmp(args[i], "--host") == 0 && more)
            snprintf(host, sizeof host, "%s", args[++i]);
        else if (strcmp(args[i], "--pools") == 0 && more)
            enroll.pool_count = names_of(args[++i], pools);
        else if (strcmp(args[i], "--sources") == 0 && more)
            enroll.source_count = names_of(args[++i], sources);
        else if (strcmp(args[i], "--password-file") == 0 && more)
            password_file = args[++i];
        else if (args[i][0] != '-' && enroll.name.len == 0)
            enroll.name = text_of(args[i]);
        else
            done = err_set(err, ERR_USAGE, "usage.enroll", "enroll does not take %s", args[i]);
    }
    if (done && enroll.name.len == 0)
        done = err_set(err, ERR_USAGE, "usage.enroll", "enroll whom? enroll NAME --pools a,b");
    CatalogParams params = setup_admin(setup);
    enroll.host = text_of(host);
    done = done && (password_file == NULL || secret_read_file(password_file, &password, err));
    enroll.password = password;
    done =
        done && catalog_migrate_open(&admin, &params, err) && catalog_enroll(admin, &enroll, err);
    catalog_close(admin);
    secret_free(password);
    if (done)
        printf("enrolled %.*s on %s\n", TEXT_ARG(enroll.name), host);
    return done ? 0 : err_exit_code(err->code);
}
