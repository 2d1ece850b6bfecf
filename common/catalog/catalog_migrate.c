/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_migrate.h"

#include "common/base/secret.h"
#include "common/catalog/migration.h"
#include "common/catalog/statement.h"
#include "common/catalog/view_args.h"

/* Transaction control and the migration's own bookkeeping; not in sql/, because they hold for one
 * connection that only an administrator opens. */
static const Asset begin = {"begin", (const unsigned char *)"BEGIN", 5};
static const Asset commit = {"commit", (const unsigned char *)"COMMIT", 6};
static const Asset rollback = {"rollback", (const unsigned char *)"ROLLBACK", 8};
static const char lock_text[] = "SELECT pg_advisory_xact_lock(hashtext('holdfast.migrate'))";
static const Asset lock = {"migrate lock", (const unsigned char *)lock_text, sizeof lock_text - 1};
static const char note_text[] = "INSERT INTO holdfast.schema_version(number, name) VALUES ($1, $2)";
static const Asset note = {"migrate note", (const unsigned char *)note_text, sizeof note_text - 1};
static const char path_text[] = "SET LOCAL search_path = holdfast, pg_temp";
static const Asset path = {"migrate path", (const unsigned char *)path_text, sizeof path_text - 1};

bool catalog_migrate_open(Catalog **out, const CatalogParams *admin, Err *err)
{
    return statement_connect(out, admin, err);
}

unsigned catalog_migrate_newest(void)
{
    return (unsigned)migration_count();
}

bool catalog_migrate_version(Catalog *c, unsigned *version, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    Err why = {0};
    *version = 0;
    if (statement_row(c, &asset_sql_schema_version_sql, NULL, &rows, &why)) {
        *version = rows_u32(&rows, 0, 0);
        return true;
    }
    if (strcmp(why.cause, "catalogue.older") == 0)
        return true; /* no such schema, no such table: nothing was ever applied */
    *err = why;
    return false;
}

/* One migration in one transaction, under the lock; *applied false when another run did it. */
static bool apply(Catalog *admin, unsigned number, const Asset *script, Err *err)
{
    scoped(args_free) Args args = {0};
    unsigned version;
    if (!statement_run(admin, &begin, NULL, NULL, err) ||
        !statement_run(admin, &lock, NULL, NULL, err) ||
        !statement_script(admin, migration_roles(), err))
        return false;
    if (!catalog_migrate_version(admin, &version, err))
        return false;
    if (version >= number)
        return statement_run(admin, &commit, NULL, NULL, err);
    args_i32(&args, (int32_t)number);
    args_text(&args, text_of(script->name));
    return statement_run(admin, &path, NULL, NULL, err) && statement_script(admin, script, err) &&
           statement_run(admin, &note, &args, NULL, err) &&
           statement_run(admin, &commit, NULL, NULL, err);
}

bool catalog_migrate(Catalog *admin, MigrateReport *report, Err *err)
{
    if (!catalog_migrate_version(admin, &report->before, err))
        return false;
    report->after = report->before;
    if (report->before > catalog_migrate_newest())
        return err_set(err, ERR_CONFLICT, "catalogue.newer",
                       "the schema has version %u, this program knows %u: upgrade the program",
                       report->before, catalog_migrate_newest());
    for (unsigned number = report->before + 1; number <= catalog_migrate_newest(); number++) {
        const Asset *script = migration_at(number - 1);
        if (!apply(admin, number, script, err)) {
            Err ignored = {0};
            if (catalog_ok(admin) && !statement_run(admin, &rollback, NULL, NULL, &ignored))
                return err_note(err, "migration %s (and its rollback failed)", script->name);
            return err_note(err, "migration %s", script->name);
        }
        report->after = number;
    }
    return true;
}

bool catalog_migrate_password(Catalog *admin, const Secret *password, Err *err)
{
    scoped(buf_free) Buf verifier = {0};
    scoped(args_free) Args args = {0};
    if (!statement_verifier(admin, TEXT("holdfast_scheduler"), secret_slice(password), &verifier,
                            err))
        return false;
    args_text(&args, buf_text(&verifier));
    return statement_run(admin, &asset_sql_scheduler_password_sql, &args, NULL, err);
}

bool catalog_migrate_check(Catalog *c, Err *err)
{
#define STATEMENT(name)                                                                            \
    if (!statement_check(c, &asset_sql_##name##_sql, NULL, 0, err))                                \
        return false;
#define VIEW(symbol, name)                                                                         \
    if (!statement_check(c, &asset_sql_##name##_sql, view_args_types, VIEW_ARGS_COUNT, err))       \
        return false;
#include "common/catalog/statements.def"
#undef STATEMENT
#undef VIEW
    return true;
}
