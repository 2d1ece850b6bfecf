/* SPDX-License-Identifier: Apache-2.0
 * Names of plain copies from hostile values, and files that are not whole. */
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "worker/job/plain_check.h"
#include "worker/job/plain_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#include <cmocka.h>

/* --- names ---------------------------------------------------------------------------------- */

static bool name_of(const char *form, const char *source, unsigned n, Buf *out, Err *err)
{
    json_t *plain =
        json_pack("{s:s*, s:s%, s:s, s:s, s:s}", "name", form, "source", source, strlen(source),
                  "time", "20261122013805", "type", "mysql", "backup", "bk_01J");
    bool made = plain_name_make(plain, ".sql.gz", n, out, err);
    json_decref(plain);
    return made;
}

static void expect(const char *form, const char *source, unsigned n, const char *wanted)
{
    Err err = {0};
    scoped(buf_free) Buf out = {0};
    if (!name_of(form, source, n, &out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_cstr(&out), wanted);
}

static void a_template_gives_the_names_that_were_asked_for(void **state)
{
    (void)state;
    expect("{type}_backup_{time:%Y%m%d_%H%M%S}.sql.gz", "x", 1,
           "mysql_backup_20261122_013805.sql.gz");
    expect(NULL, "orders", 1, "orders_20261122_013805.sql.gz");
    expect("a/b/{source}_{schedule}_{time:%Y}", "orders", 1, "a/b/orders_manual_2026.sql.gz");
    expect("{source}_{time}.sql.gz", "orders", 3, "orders_20261122_013805_3.sql.gz");
}

/* One of the names that people have had, with the extension of its kind. */
static void expect_of(const char *form, const char *source, const char *extension,
                      const char *wanted)
{
    Err err = {0};
    scoped(buf_free) Buf out = {0};
    json_t *plain =
        json_pack("{s:s, s:s, s:s}", "name", form, "source", source, "time", "20261122013805");
    if (!plain_name_make(plain, extension, 1, &out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_cstr(&out), wanted);
    json_decref(plain);
}

static void the_names_that_scripts_have_given_are_given_again(void **state)
{
    (void)state;
    expect_of("{source}_backup_{time:%Y%m%d_%H%M%S}", "mysql", ".sql.gz",
              "mysql_backup_20261122_013805.sql.gz");
    expect_of("{source}_backup_{time:%Y%m%d_%H%M%S}", "sessions", ".db.gz",
              "sessions_backup_20261122_013805.db.gz");
    expect_of("postgres/{source}_full_{time}", "psscript", ".sql.gz",
              "postgres/psscript_full_20261122_013805.sql.gz");
    expect_of("redis/{source}_{time}", "redis", ".rdb.gz", "redis/redis_20261122_013805.rdb.gz");
    expect_of("backups/{source}_{time}", "NAME", ".tar.gz", "backups/NAME_20261122_013805.tar.gz");
    expect_of("{source}_backup_{time}.tar.gz", "coderstew", ".tar.gz",
              "coderstew_backup_20261122_013805.tar.gz");
}

static void an_archive_says_what_it_holds(void **state)
{
    Err err = {0};
    scoped(buf_free) Buf out = {0};
    (void)state;
    json_t *plain = json_pack("{s:s, s:s}", "holds", "database_{time:%Y%m%d_%H%M%S}.sql", "time",
                              "20261122013805");
    assert_true(plain_name_holds(plain, &out, &err));
    assert_string_equal(buf_cstr(&out), "database_20261122_013805.sql");
    json_object_set_new(plain, "holds", json_string("../x"));
    buf_clear(&out);
    assert_false(plain_name_holds(plain, &out, &err));
    assert_string_equal(err.cause, "plain.name");
    json_decref(plain);
}

static void no_value_leaves_the_store(void **state)
{
    static const char *const hostile[] = {"../../etc/passwd", "a/b",   "..",  ".hidden", "x\ny",
                                          "\xff\xfe",         "$(rm)", "a b", "",        "-rf"};
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        Err err = {0};
        scoped(buf_free) Buf out = {0};
        json_t *plain = json_pack("{s:s, s:o, s:s}", "name", "dir/{source}_x", "source",
                                  json_stringn_nocheck(hostile[i], strlen(hostile[i])), "time",
                                  "20261122013805");
        if (!plain_name_make(plain, ".sql.gz", 1, &out, &err))
            fail_msg("%s", err.text);
        assert_true(store_name_valid(buf_cstr(&out)));
        assert_null(strstr(buf_cstr(&out), ".."));
        assert_int_equal(strncmp(buf_cstr(&out), "dir/", 4), 0);
        assert_null(strchr(buf_cstr(&out) + 4, '/'));
        json_decref(plain);
    }
}

static void a_name_that_cannot_be_is_refused(void **state)
{
    static const char *const forms[] = {"../{source}", "/{source}", "{source}.tar.gz", "a//b",
                                        "a b/{source}"};
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        Err err = {0};
        scoped(buf_free) Buf out = {0};
        assert_false(name_of(forms[i], "x", 1, &out, &err));
        assert_string_equal(err.cause, "plain.name");
    }
}

static void latest_stands_where_the_time_would(void **state)
{
    Err err = {0};
    scoped(buf_free) Buf out = {0};
    (void)state;
    json_t *plain =
        json_pack("{s:s, s:s}", "name", "p/{source}_full_{time:%Y}", "source", "orders");
    assert_true(plain_name_latest(plain, ".sql.gz", &out, &err));
    assert_string_equal(buf_cstr(&out), "p/orders_full_latest.sql.gz");
    json_object_set_new(plain, "latest", json_string("p/latest"));
    buf_clear(&out);
    assert_true(plain_name_latest(plain, ".sql.gz", &out, &err));
    assert_string_equal(buf_cstr(&out), "p/latest.sql.gz");
    json_decref(plain);
}

/* --- files ---------------------------------------------------------------------------------- */

typedef struct Place {
    char path[64];
    Store *store;
    Buf file;
    unsigned put;
} Place;

static void gzip(Slice plain, Buf *out)
{
    z_stream z = {0};
    uint8_t piece[4096];
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = plain.at;
    z.avail_in = (uInt)plain.len;
    int answer;
    do {
        z.next_out = piece;
        z.avail_out = sizeof piece;
        answer = deflate(&z, Z_FINISH);
        buf_add(out, piece, sizeof piece - z.avail_out);
    } while (answer == Z_OK);
    assert_int_equal(answer, Z_STREAM_END);
    deflateEnd(&z);
}

static void begin(Place *place)
{
    Err err = {0};
    *place = (Place){0};
    snprintf(place->path, sizeof place->path, "/tmp/hf-plain.XXXXXX");
    assert_non_null(mkdtemp(place->path));
    if (!store_local_open(&place->store, place->path, &err))
        fail_msg("%s", err.text);
}

static void end(Place *place)
{
    char command[96];
    store_close(place->store);
    buf_free(&place->file);
    snprintf(command, sizeof command, "rm -r %s", place->path);
    assert_int_equal(system(command), 0);
}

static bool go_on(void *ctx, size_t bytes, Err *err)
{
    (void)ctx;
    (void)bytes;
    (void)err;
    return true;
}

/* The bytes put into the store, checked against the hash of what should be there. */
static bool is_whole(Place *place, Slice bytes, const Sha256 *sha256, bool tar, uint64_t entries)
{
    char name[16];
    bool whole;
    Err err = {0}, why = {0};
    snprintf(name, sizeof name, "f%u", place->put++);
    if (!store_put(place->store, name, bytes, &err))
        fail_msg("%s", err.text);
    PlainCheck check = {.store = place->store,
                        .name = name,
                        .bytes = bytes.len,
                        .sha256 = sha256,
                        .tar = tar,
                        .sql = !tar,
                        .entries = entries,
                        .go_on = go_on};
    if (!plain_check(&check, &whole, &why, &err))
        fail_msg("%s", err.text);
    return whole;
}

static bool hashed_is_whole(Place *place, Slice bytes, bool tar, uint64_t entries)
{
    Sha256 sha256;
    hash_sha256(bytes, &sha256);
    return is_whole(place, bytes, &sha256, tar, entries);
}

static void sql_is_whole_with_its_mark_and_its_hash(void **state)
{
    Place place;
    Sha256 sha256;
    scoped(buf_free) Buf bad = {0};
    (void)state;
    begin(&place);
    gzip(slice_of_text(TEXT("SELECT 1;\n-- Holdfast export complete\n")), &place.file);
    Slice good = buf_slice(&place.file);
    hash_sha256(good, &sha256);
    assert_true(is_whole(&place, good, &sha256, false, 0));
    for (size_t i = 0; i < good.len; i++) {
        buf_clear(&bad);
        buf_add_slice(&bad, good);
        bad.at[i] ^= 1;
        assert_false(is_whole(&place, buf_slice(&bad), &sha256, false, 0));
    }
    assert_false(hashed_is_whole(&place, (Slice){good.at, good.len - 1}, false, 0));
    buf_clear(&bad);
    gzip(slice_of_text(TEXT("SELECT 1;\n-- Holdfast export compl")), &bad);
    assert_false(hashed_is_whole(&place, buf_slice(&bad), false, 0));
    buf_add_slice(&place.file, slice_of_text(TEXT("more")));
    assert_false(hashed_is_whole(&place, buf_slice(&place.file), false, 0));
    end(&place);
}

/* What GNU tar writes of a long name and a file of some blocks. */
static void make_tar(const Place *place, Buf *out)
{
    char command[512];
    uint8_t piece[4096];
    size_t got;
    snprintf(command, sizeof command,
             "cd %s && mkdir t && head -c 70000 /dev/zero > t/some && touch t/%0150d && "
             "tar --format=pax -cf - t",
             place->path, 7);
    FILE *tar = popen(command, "r");
    assert_non_null(tar);
    while ((got = fread(piece, 1, sizeof piece, tar)) > 0)
        buf_add(out, piece, got);
    assert_int_equal(pclose(tar), 0);
}

static void a_tar_is_whole_with_all_its_entries_and_its_end(void **state)
{
    Place place;
    scoped(buf_free) Buf tar = {0};
    scoped(buf_free) Buf cut = {0};
    (void)state;
    begin(&place);
    make_tar(&place, &tar);
    gzip(buf_slice(&tar), &place.file);
    assert_true(hashed_is_whole(&place, buf_slice(&place.file), true, 3));
    assert_false(hashed_is_whole(&place, buf_slice(&place.file), true, 4));
    gzip((Slice){tar.at, 4096}, &cut);
    assert_false(hashed_is_whole(&place, buf_slice(&cut), true, 0));
    tar.at[10] ^= 1; /* in the first header's name */
    buf_clear(&cut);
    gzip(buf_slice(&tar), &cut);
    assert_false(hashed_is_whole(&place, buf_slice(&cut), true, 0));
    end(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_gives_the_names_that_were_asked_for),
        cmocka_unit_test(the_names_that_scripts_have_given_are_given_again),
        cmocka_unit_test(an_archive_says_what_it_holds),
        cmocka_unit_test(no_value_leaves_the_store),
        cmocka_unit_test(a_name_that_cannot_be_is_refused),
        cmocka_unit_test(latest_stands_where_the_time_would),
        cmocka_unit_test(sql_is_whole_with_its_mark_and_its_hash),
        cmocka_unit_test(a_tar_is_whole_with_all_its_entries_and_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
