/* SPDX-License-Identifier: Apache-2.0
 * The writer when its process dies, at every marked point. The next attempt makes a whole backup,
 * and what was staged is not sent again. Only children write: a process remembers that it was not
 * told to die. */
#include "common/base/mem.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRIES = 40, MIB = 1024 * 1024 };

typedef struct Content {
    RepositoryEntry entries[ENTRIES];
    char paths[ENTRIES][32];
    uint8_t *bytes;
} Content;

/* Bytes that neither shrink nor repeat, in files of all sizes. */
static Content *content_new(size_t large, size_t large_count)
{
    Content *c = mem_new(Content);
    size_t total = large * large_count + ENTRIES * 3000, at = 0;
    uint64_t state = 88172645463325252u;
    c->bytes = mem_resize(NULL, total + 8);
    for (size_t i = 0; i < total; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(c->bytes + i, &state, 8);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        size_t len = i % 10 < large_count ? large / 4 : i * 70;
        snprintf(c->paths[i], sizeof c->paths[i], "folder/file %03zu", i);
        c->entries[i] = (RepositoryEntry){.entry = {.path = text_of(c->paths[i]),
                                                    .type = ENTRY_FILE,
                                                    .cut = CUT_DUMP,
                                                    .mode = 0600,
                                                    .mtime_ns = 1,
                                                    .ctime_ns = 1,
                                                    .inode = i + 1,
                                                    .size = len},
                                          .content = {c->bytes + at, len}};
        at += len;
    }
    return c;
}

static void content_free(Content *c)
{
    mem_free(c->bytes);
    mem_free(c);
}

/* What a child process found out. */
typedef struct Outcome {
    RepoBackup backup;
    WriterProgress progress;
} Outcome;

typedef struct Attempt {
    Repository *r;
    const Content *content;
    size_t pack_bytes;
    unsigned crash_at;
    const char *only;
    char ledger_path[100], outcome_path[100];
} Attempt;

static void child(const Attempt *a)
{
    char number[16];
    WriterParams params;
    Outcome outcome;
    Err err = {0};
    snprintf(number, sizeof number, "%u", a->crash_at);
    if (a->crash_at > 0) {
        setenv("HOLDFAST_CRASHPOINT", number, 1);
        setenv("HOLDFAST_CRASHPOINT_ONLY", a->only, 1);
    }
    ledger_autosave(a->r->ledger, a->ledger_path);
    repository_params(a->r, NULL, &params);
    params.pack_bytes = a->pack_bytes;
    if (!repository_try(&params, a->content->entries, ENTRIES, &outcome.backup, &outcome.progress,
                        &err)) {
        fprintf(stderr, "%s: %s\n", err.cause, err.text);
        _exit(1);
    }
    repository_commit(a->r, &outcome.backup);
    FILE *file = fopen(a->outcome_path, "wb");
    if (file == NULL || fwrite(&outcome, sizeof outcome, 1, file) != 1 || fclose(file) != 0)
        _exit(2);
    _exit(0);
}

/* True: it finished; false: it was killed, as it was told. */
static bool run(const Attempt *a, Outcome *outcome)
{
    pid_t pid = fork();
    if (pid == 0)
        child(a);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return false;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    FILE *file = fopen(a->outcome_path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(outcome, sizeof *outcome, 1, file), 1);
    fclose(file);
    return true;
}

static void begin(Attempt *a, const Content *content, size_t pack_bytes)
{
    *a = (Attempt){.r = repository_new(false), .content = content, .pack_bytes = pack_bytes};
    snprintf(a->ledger_path, sizeof a->ledger_path, "%s/ledger", a->r->dir);
    snprintf(a->outcome_path, sizeof a->outcome_path, "%s/outcome", a->r->dir);
    assert_true(ledger_save(a->r->ledger, a->ledger_path));
}

static void next_attempt(Attempt *a)
{
    ledger_free(a->r->ledger);
    a->r->ledger = ledger_load(a->ledger_path);
    assert_non_null(a->r->ledger);
    ledger_attempt(a->r->ledger);
    a->crash_at = 0;
}

static void a_process_may_die_at_every_marked_point(void **state)
{
    (void)state;
    Content *c = content_new(3 * MIB, 1);
    bool died = true;
    unsigned point = 0;
    while (died) {
        Attempt a;
        Outcome outcome;
        begin(&a, c, MIB);
        a.crash_at = ++point;
        a.only = "repo.";
        died = !run(&a, &outcome);
        if (died) {
            next_attempt(&a);
            assert_true(run(&a, &outcome));
        }
        repository_compare(a.r, &outcome.backup, c->entries, ENTRIES);
        repository_free(a.r);
    }
    assert_true(point > 12);
    content_free(c);
}

static void what_was_staged_before_a_death_is_not_sent_again(void **state)
{
    (void)state;
    Content *c = content_new(16 * MIB, 4);
    Attempt a;
    Outcome clean, second;
    begin(&a, c, 2 * MIB);
    assert_true(run(&a, &clean));
    repository_free(a.r);

    begin(&a, c, 2 * MIB);
    a.crash_at = (unsigned)(clean.progress.stored / (2 * MIB) * 6 / 10);
    a.only = "repo.pack_durable";
    assert_false(run(&a, &second));
    next_attempt(&a);
    uint64_t staged = ledger_bytes(a.r->ledger);
    assert_true(staged > clean.progress.stored / 2);
    assert_true(run(&a, &second));
    assert_true(second.progress.adopted > 0);
    uint64_t both = staged + second.progress.stored;
    if (both > clean.progress.stored + clean.progress.stored / 20)
        fail_msg("%llu bytes in two attempts, %llu in one", (unsigned long long)both,
                 (unsigned long long)clean.progress.stored);
    repository_compare(a.r, &second.backup, c->entries, ENTRIES);
    repository_free(a.r);
    content_free(c);
}

/* The first attempt's pack is swapped for other bytes of the same length. */
static void a_damaged_pack_of_a_dead_attempt_is_not_adopted(void **state)
{
    (void)state;
    Content *c = content_new(2 * MIB, 1);
    Attempt a;
    Outcome outcome;
    char command[300];
    begin(&a, c, MIB);
    a.crash_at = 2;
    a.only = "repo.pack_staged";
    assert_false(run(&a, &outcome));
    snprintf(command, sizeof command,
             "find %s/packs -type f | while read f; do chmod u+w $f; printf x | dd of=$f bs=1 "
             "seek=2000 conv=notrunc status=none; done",
             a.r->store_path);
    assert_int_equal(system(command), 0);
    next_attempt(&a);
    assert_true(run(&a, &outcome));
    assert_int_equal(outcome.progress.adopted, 0);
    repository_compare(a.r, &outcome.backup, c->entries, ENTRIES);
    repository_free(a.r);
    content_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_may_die_at_every_marked_point),
        cmocka_unit_test(what_was_staged_before_a_death_is_not_sent_again),
        cmocka_unit_test(a_damaged_pack_of_a_dead_attempt_is_not_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
