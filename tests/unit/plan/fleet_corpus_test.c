/* SPDX-License-Identifier: Apache-2.0
 * Fleet files with one mistake each, and what is said of them, word for word: NAME.yaml and
 * NAME.txt in tests/unit/plan/fleet, or NAME/fleet.yaml with what it includes and NAME.txt. They
 * are read as text in reviews. HOLDFAST_CORPUS_UPDATE=1 writes the texts anew. */
#include "common/base/include.h"
#include "common/base/mem.h"
#include "scheduler/plan/fleet.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char FOLDER[] = "tests/unit/plan/fleet";

/* Saturday 21 November 2026: what the scheduler would know. */
static FleetFacts facts_of(json_t **owner)
{
    *owner =
        json_pack("{s:{s:i}, s:{s:I}, s:{s:{s:i}, s:{s:i}, s:{s:i, s:s}}}", "seconds", "orders",
                  1260, "stored", "orders", (json_int_t)7549747200, "places", "default", "workers",
                  1, "fra", "workers", 2, "host:web3", "workers", 0, "seen", "14 Nov");
    return (FleetFacts){.now_s = 1795219200,
                        .seconds = json_object_get(*owner, "seconds"),
                        .stored = json_object_get(*owner, "stored"),
                        .places = json_object_get(*owner, "places")};
}

static void check(const char *path, Buf *out)
{
    IncludeFiles files = {0};
    FleetFile rows[16];
    YamlProblems problems = {0};
    FleetCount counted = {0};
    Err err = {0};
    json_t *owner;
    FleetFacts facts = facts_of(&owner);
    scoped(buf_free) Buf document = {0};
    if (!include_read(path, &files, &err))
        buf_printf(out, "%s [%s]\n", err.text, err.cause);
    else {
        assert_true(files.count <= 16);
        for (size_t i = 0; i < files.count; i++)
            rows[i] = (FleetFile){files.rows[i].name, buf_text(&files.rows[i].text)};
        bool good = fleet_compile_files(rows, files.count, &facts, &document, &counted, &problems);
        assert_int_equal(good, problems.errors == 0);
        assert_int_equal(good, document.len != 0);
        yaml_problems_print(&problems, out);
        fleet_summary("fleet.yaml", &counted, &problems, out);
    }
    json_decref(owner);
    yaml_problems_free(&problems);
    include_free(&files);
}

static void read_all(const char *path, Buf *out)
{
    FILE *file = fopen(path, "rbe");
    for (size_t got = 1; file != NULL && got != 0;) {
        uint8_t *at = buf_extend(out, 4096);
        got = fread(at, 1, 4096, file);
        out->len -= 4096 - got;
    }
    if (file != NULL)
        fclose(file);
}

/* One case; `name` is an entry of the folder. False: it says something else than its text. */
static bool agrees(const char *name)
{
    char path[512];
    char expected[512];
    struct stat st;
    scoped(buf_free) Buf said = {0};
    scoped(buf_free) Buf wanted = {0};
    snprintf(path, sizeof path, "%s/%s/fleet.yaml", FOLDER, name);
    if (stat(path, &st) != 0)
        snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    snprintf(expected, sizeof expected, "%s/%.*s.txt", FOLDER, (int)strcspn(name, "."), name);
    check(path, &said);
    if (getenv("HOLDFAST_CORPUS_UPDATE") != NULL) {
        FILE *file = fopen(expected, "wbe");
        assert_non_null(file);
        fwrite(said.at, 1, said.len, file);
        fclose(file);
        return true;
    }
    read_all(expected, &wanted);
    if (text_equal(buf_text(&said), buf_text(&wanted)))
        return true;
    print_error("%s says\n%s\nand not\n%s\n", name, buf_cstr(&said), buf_cstr(&wanted));
    return false;
}

static void every_mistake_is_told_in_the_words_that_were_reviewed(void **state)
{
    (void)state;
    size_t cases = 0;
    size_t wrong = 0;
    DIR *dir = opendir(FOLDER);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        bool text = len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
        if (entry->d_name[0] == '.' || text)
            continue;
        cases++;
        wrong += !agrees(entry->d_name);
    }
    closedir(dir);
    assert_int_equal(wrong, 0);
    assert_true(cases >= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_is_told_in_the_words_that_were_reviewed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
