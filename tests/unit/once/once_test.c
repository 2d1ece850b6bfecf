/* SPDX-License-Identifier: Apache-2.0
 * The offline verbs bring back what is in a store, with key files and nothing else running. */
#include "worker/once/once.h"

#include "tests/harness/repository.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 5, LARGE = 3 * 1024 * 1024 + 11 };

static const char *const PATHS[FILES] = {"home/a", "home/b file", "home/deep/er/c", "srv/large",
                                         "srv/z"};

typedef struct Fixture {
    Repository *r;
    RepoBackup backup;
    RepositoryEntry entries[FILES];
    uint8_t *bytes;
    char id[BACKUP_ID_TEXT], store[100], keys[100], target[100], out[100];
} Fixture;

static Fixture *fixture_new(void)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->bytes = malloc(LARGE);
    assert_non_null(f->bytes);
    for (uint32_t i = 0, state = 1; i < LARGE; i++, state = state * 1664525u + 1013904223u)
        f->bytes[i] = (uint8_t)(state >> 24);
    for (size_t i = 0; i < FILES; i++)
        f->entries[i] = (RepositoryEntry){.entry = {.path = text_of(PATHS[i]),
                                                    .type = ENTRY_FILE,
                                                    .cut = CUT_DUMP,
                                                    .mode = 0640,
                                                    .mtime_ns = 1600000000123456789,
                                                    .size = i == 3 ? LARGE : 1000 + i},
                                          .content = {f->bytes + i, i == 3 ? LARGE - i : 1000 + i}};
    f->r = repository_new(false);
    repository_backup(f->r, f->entries, FILES, NULL, &f->backup);
    uuid_backup_text(&f->backup.id, f->id);
    snprintf(f->store, sizeof f->store, "%s/store", f->r->dir);
    snprintf(f->keys, sizeof f->keys, "%s/keys", f->r->dir);
    snprintf(f->target, sizeof f->target, "%s/target", f->r->dir);
    snprintf(f->out, sizeof f->out, "%s/out", f->r->dir);
    return f;
}

static void fixture_free(Fixture *f)
{
    repo_backup_free(&f->backup);
    repository_free(f->r);
    free(f->bytes);
    free(f);
}

/* In a child, with stdout into f->out: the verb's exit code. */
static int once(const Fixture *f, const char *verb, const char *backup, const char *extra,
                const char *value)
{
    const char *words[16] = {"once",  "--store",   f->store, "--keys",
                             f->keys, "--key-set", "test",   verb};
    int count = 8;
    if (backup != NULL)
        words[count++] = backup;
    if (extra != NULL)
        words[count++] = extra;
    if (value != NULL)
        words[count++] = value;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[16];
        int fd = open(f->out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
            _exit(99);
        for (int i = 0; i < count; i++)
            argv[i] = strdup(words[i]);
        int code = once_main(count, argv);
        fflush(NULL);
        _exit(code);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool said(const Fixture *f, const char *words)
{
    static char text[65536];
    FILE *file = fopen(f->out, "rb");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    text[len] = 0;
    fclose(file);
    return strstr(text, words) != NULL;
}

static bool same_file(const Fixture *f, size_t i)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", f->target, PATHS[i]);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t len = f->entries[i].content.len;
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    bool same =
        fread(bytes, 1, len + 1, file) == len && memcmp(bytes, f->entries[i].content.at, len) == 0;
    free(bytes);
    fclose(file);
    return same;
}

static void a_backup_is_listed_verified_and_restored(void **state)
{
    (void)state;
    Fixture *f = fixture_new();
    assert_int_equal(once(f, "list", NULL, NULL, NULL), 0);
    assert_true(said(f, f->id));
    assert_true(said(f, "tree"));
    assert_int_equal(once(f, "list", NULL, "--json", NULL), 0);
    assert_true(said(f, "\"entries\":5"));
    assert_int_equal(once(f, "verify", "latest", NULL, NULL), 0);
    assert_true(said(f, "5 entries"));
    assert_int_equal(once(f, "verify", "all", NULL, NULL), 0);
    assert_true(said(f, "1 backups: 0 damaged"));
    assert_int_equal(once(f, "verify", "all", "--source", "another"), 0);
    assert_true(said(f, "0 backups: 0 damaged"));
    assert_int_equal(once(f, "verify", NULL, "--level", "stored"), 0);
    assert_int_equal(once(f, "restore", f->id, "--to", f->target), 0);
    for (size_t i = 0; i < FILES; i++)
        assert_true(same_file(f, i));
    fixture_free(f);
}

static void an_export_is_unpacked_by_tar(void **state)
{
    (void)state;
    Fixture *f = fixture_new();
    char command[700];
    assert_int_equal(once(f, "export", "latest", NULL, NULL), 0);
    snprintf(command, sizeof command, "mkdir %s && tar -x -f %s -C %s && tar -tvf %s >/dev/null",
             f->target, f->out, f->target, f->out);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < FILES; i++)
        assert_true(same_file(f, i));
    fixture_free(f);
}

/* The bundle is the first chunk of its pack: the small files are lost, the large one is not. */
static void damage_is_named_and_the_rest_is_restored(void **state)
{
    (void)state;
    Fixture *f = fixture_new();
    char command[700];
    snprintf(command, sizeof command,
             "f=$(find %s/packs -type f -size +1M); chmod u+w $f; printf XXXX | dd of=$f bs=1 "
             "seek=$(($(stat -c %%s $f) / 2)) conv=notrunc status=none",
             f->r->store_path);
    assert_int_equal(system(command), 0);
    assert_int_equal(once(f, "verify", "latest", NULL, NULL), 1);
    assert_int_equal(once(f, "verify", "all", NULL, NULL), 1);
    assert_true(said(f, "1 backups: 1 damaged"));
    assert_int_equal(once(f, "verify", NULL, "--level", "stored"), 1);
    assert_int_equal(once(f, "restore", "latest", "--to", f->target), 1);
    unsigned whole = 0;
    for (size_t i = 0; i < FILES; i++)
        whole += same_file(f, i);
    assert_int_equal(whole, FILES - 1);
    assert_false(same_file(f, 3));
    assert_int_equal(once(f, "export", "latest", NULL, NULL), 1);
    fixture_free(f);
}

static void mistakes_are_named_with_their_exit_codes(void **state)
{
    (void)state;
    Fixture *f = fixture_new();
    char missing[100];
    assert_int_equal(once(f, "restore", "bk_7ZZZ", "--to", f->target), 5);
    assert_int_equal(once(f, "restore", f->id, NULL, NULL), 2);
    assert_int_equal(once(f, "remove", f->id, NULL, NULL), 2);
    assert_int_equal(once(f, "list", NULL, "--no-such", NULL), 2);
    assert_int_equal(once(f, "restore", f->id, "--with", "everything"), 2);
    snprintf(missing, sizeof missing, "%s/config", f->r->store_path);
    assert_int_equal(unlink(missing), 0);
    assert_int_equal(once(f, "list", NULL, NULL, NULL), 5);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_listed_verified_and_restored),
        cmocka_unit_test(an_export_is_unpacked_by_tar),
        cmocka_unit_test(damage_is_named_and_the_rest_is_restored),
        cmocka_unit_test(mistakes_are_named_with_their_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
