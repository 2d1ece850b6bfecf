/* SPDX-License-Identifier: Apache-2.0
 * postgresql_versions_test.c — what is said to a server of each major, by the documents of it, what
 * is refused, and how the head of its manifest is read. Only 15 was run. */
#include "worker/engine/postgresql_versions.h"

#include "common/base/hash.h"
#include "worker/engine/postgresql_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void each_major_is_asked_in_its_own_words(void **state)
{
    static const char before_15[] =
        "BASE_BACKUP LABEL 'holdfast' FAST NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'";
    static const char from_15[] =
        "BASE_BACKUP (LABEL 'holdfast', CHECKPOINT 'fast', WAL false, WAIT "
        "false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')";
    static const struct {
        int number;
        const char *words;
        bool one_copy, tells_standby;
        int manifest;
    } rows[] = {
        {130023, before_15, false, false, 1}, {140020, before_15, false, true, 1},
        {150015, from_15, true, true, 1},     {160011, from_15, true, true, 1},
        {170007, from_15, true, true, 2},     {180001, from_15, true, true, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = {0};
        scoped(buf_free) Buf fast = {0};
        scoped(buf_free) Buf spread = {0};
        const PostgresqlVersion *version;
        assert_true(postgresql_version_of(rows[i].number, &version, &err));
        assert_int_equal(version->major, rows[i].number / 10000);
        assert_int_equal(version->one_copy, rows[i].one_copy);
        assert_int_equal(version->tells_standby, rows[i].tells_standby);
        assert_int_equal(version->manifest, rows[i].manifest);
        postgresql_version_base_backup(version, false, &fast);
        postgresql_version_base_backup(version, true, &spread);
        assert_string_equal(buf_cstr(&fast), rows[i].words);
        assert_null(strstr(buf_cstr(&spread), "FAST"));
        assert_int_equal(strstr(buf_cstr(&spread), "'spread'") != NULL, rows[i].number >= 150000);
        /* With a map the restored server would make its links anew as they were. */
        assert_null(strstr(buf_cstr(&fast), "TABLESPACE_MAP"));
    }
}

static void a_major_that_is_not_known_is_refused(void **state)
{
    static const int numbers[] = {90624, 120022, 190000, 980000};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        Err err = {0};
        const PostgresqlVersion *version;
        assert_false(postgresql_version_of(numbers[i], &version, &err));
        assert_null(version);
        assert_int_equal(err.code, ERR_SOURCE);
        assert_string_equal(err.cause, "source.version");
        assert_non_null(strstr(err.text, "from 13 to 18"));
        assert_non_null(strstr(err.text, "method: logical"));
    }
}

/* One file, as "Backup Manifest Format" has it; the sum is of all lines before its own. */
static void build(const char *head, Buf *out)
{
    Sha256 sum;
    buf_printf(out,
               "%s\"Files\": [\n{ \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": "
               "\"2026-11-22 10:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": "
               "\"01020304\" }\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": "
               "\"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n",
               head);
    HashSha256 *hash = hash_sha256_new();
    hash_sha256_add(hash, buf_slice(out));
    hash_sha256_end(hash, &sum);
    hash_sha256_free(hash);
    buf_add_text(out, TEXT("\"Manifest-Checksum\": \""));
    for (size_t i = 0; i < sizeof sum.bytes; i++)
        buf_printf(out, "%02x", sum.bytes[i]);
    buf_add_text(out, TEXT("\"}\n"));
}

static bool is_read(const char *head, int version, Err *err)
{
    scoped(buf_free) Buf text = {0};
    PostgresqlManifest *manifest = postgresql_manifest_new();
    *err = (Err){0};
    build(head, &text);
    postgresql_manifest_expect(manifest, version, "7300000000000000001");
    postgresql_manifest_came(manifest, TEXT("PG_VERSION"), 3, 0x01020304);
    bool read = postgresql_manifest_read(manifest, buf_slice(&text), err) &&
                postgresql_manifest_end(manifest, err);
    postgresql_manifest_free(manifest);
    return read;
}

static void a_manifest_is_of_its_version_and_its_cluster(void **state)
{
    static const char one[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n";
    static const char two[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
                              "\"System-Identifier\": 7300000000000000001,\n";
    static const char other[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
                                "\"System-Identifier\": 730000000000000000,\n";
    static const char unnamed[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n";
    static const char three[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 3,\n";
    static const struct {
        const char *head;
        int version;
        const char *refused; /* NULL: read */
    } rows[] = {
        {one, 1, NULL},
        {two, 2, NULL},
        {one, 2, "another version"},
        {two, 1, "another version"},
        {three, 2, "another version"},
        {other, 2, "another cluster"},
        {unnamed, 2, "has no head"},
        {"{ ", 1, "has no head"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        bool read = is_read(rows[i].head, rows[i].version, &err);
        if (read != (rows[i].refused == NULL))
            fail_msg("%zu: %s", i, err.text);
        if (!read) {
            assert_string_equal(err.cause, "source.manifest");
            assert_non_null(strstr(err.text, rows[i].refused));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_major_is_asked_in_its_own_words),
        cmocka_unit_test(a_major_that_is_not_known_is_refused),
        cmocka_unit_test(a_manifest_is_of_its_version_and_its_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
