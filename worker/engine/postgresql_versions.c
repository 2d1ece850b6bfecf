/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_versions.h"

static const PostgresqlVersion versions[] = {
    /* major, options, one COPY, standby, manifest */
    {13, false, false, false, 1}, {14, false, false, true, 1}, {15, true, true, true, 1},
    {16, true, true, true, 1},    {17, true, true, true, 2},   {18, true, true, true, 2},
};

enum { COUNT = sizeof versions / sizeof *versions };

const PostgresqlVersion *postgresql_version_find(int number)
{
    for (size_t i = 0; i < COUNT; i++)
        if (versions[i].major == number / 10000)
            return &versions[i];
    return NULL;
}

bool postgresql_version_of(int number, const PostgresqlVersion **out, Err *err)
{
    *out = postgresql_version_find(number);
    return *out != NULL ||
           err_set(err, ERR_SOURCE, "source.version",
                   "the server is PostgreSQL %d.%d; whole clusters are copied from %d to %d: take "
                   "logical backups of it (method: logical), or a Holdfast that knows it",
                   number / 10000, number % 10000, versions[0].major, versions[COUNT - 1].major);
}

/* CRC32C: it is there to find what went wrong on the way, and costs the server nothing to speak of.
 * TABLESPACE_MAP is left out: with it the restored server would make its links anew as they were,
 * wherever a restore put the tablespaces. The server checks page sums beside us: it can read a page
 * again that was just being written. */
void postgresql_version_base_backup(const PostgresqlVersion *version, bool spread, Buf *out)
{
    if (version->options)
        buf_printf(out,
                   "BASE_BACKUP (LABEL 'holdfast', CHECKPOINT '%s', WAL false, WAIT false, "
                   "MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')",
                   spread ? "spread" : "fast");
    else
        buf_printf(out,
                   "BASE_BACKUP LABEL 'holdfast'%s NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS "
                   "'CRC32C'",
                   spread ? "" : " FAST");
}
