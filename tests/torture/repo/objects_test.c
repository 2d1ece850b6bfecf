/* SPDX-License-Identifier: Apache-2.0
 * Every kind of object of a repository, harmed in every way a disk or a store's owner can think of:
 * what needs it fails by a name that says what to do next, what does not need it is restored byte
 * for byte, never is anything else restored, and the next backup is whole. */
#include "common/base/mem.h"
#include "common/repo/canon.h"
#include "common/repo/reader.h"
#include "tests/harness/repository.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 300, BACKUPS = 3, PATH = 400 };

static const int64_t LONG_AGO = 1500000000000000000;

typedef struct Tree {
    RepositoryEntry entries[FILES];
    char paths[FILES][32];
    uint8_t *bytes[FILES];
} Tree;

/* Two backups of one source, one of another; a repository of other keys with the same trees. */
typedef struct Scene {
    Repository *r, *foreign;
    Tree trees[BACKUPS];
    RepoBackup backups[BACKUPS];
    RepoBackup foreign_backup;
    char pristine[100];
    char data_pack[PATH], meta_pack[PATH]; /* of the second backup, below the store */
    char other_pack[PATH];                 /* a data pack of the first */
} Scene;

enum { FIRST, SECOND, OTHER };

static void shell(const char *format, ...) PRINTF_LIKE(1, 2);
static void shell(const char *format, ...)
{
    char command[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static void tree_fill(Tree *tree, uint64_t seed)
{
    for (size_t i = 0; i < FILES; i++) {
        size_t len = i % 100 == 7 ? 700000 : 200 + i * 7;
        tree->bytes[i] = mem_zeroed(1, len);
        for (size_t k = 0; k < len; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            tree->bytes[i][k] = (uint8_t)(seed >> 59);
        }
        snprintf(tree->paths[i], sizeof tree->paths[i], "dir %02zu/file %03zu", i / 10, i);
        tree->entries[i] = (RepositoryEntry){.entry = {.path = text_of(tree->paths[i]),
                                                       .type = ENTRY_FILE,
                                                       .mtime_ns = LONG_AGO,
                                                       .ctime_ns = LONG_AGO + (int64_t)seed % 1000,
                                                       .inode = i + 1,
                                                       .size = len},
                                             .content = {tree->bytes[i], len}};
    }
}

static void tree_free(Tree *tree)
{
    for (size_t i = 0; i < FILES; i++)
        mem_free(tree->bytes[i]);
}

static void back_up(Scene *s, unsigned number, const char *source, const RepoBackup *previous)
{
    WriterParams params;
    Err err = {0};
    ledger_job(s->r->ledger);
    repository_params(s->r, previous, &params);
    params.source = text_of(source);
    params.pack_bytes = 1024 * 1024;
    if (!repository_try(&params, s->trees[number].entries, FILES, &s->backups[number], NULL, &err))
        fail_msg("%s", err.text);
    repository_commit(s->r, &s->backups[number]);
}

/* Packs that came with a backup, named as lines of "packs/…" in the order they were written. */
static void note_pack(Scene *s, const char *before, const char *kind, char out[PATH])
{
    char command[PATH * 2];
    /* The kind is the seventh byte of a pack. */
    snprintf(command, sizeof command,
             "cd %s && for f in packs/*/*; do grep -qxF $f %s/%s || test $(od -An -tu1 -j6 -N1 $f) "
             "!= %s || echo $f; done | head -1",
             s->r->store_path, s->r->dir, before, kind);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(out, PATH, pipe));
    pclose(pipe);
    out[strcspn(out, "\n")] = 0;
}

static void list_packs(const Scene *s, const char *to)
{
    shell("cd %s && ls -d packs/*/* > ../../%s 2>/dev/null || : > ../../%s", s->r->store_path, to,
          to);
}

static int set_up(void **state)
{
    Scene *s = mem_new(Scene);
    Err err = {0};
    scoped(buf_free) Buf epoch = {0};
    s->r = repository_new(false);
    s->foreign = repository_new(false);
    for (unsigned i = 0; i < BACKUPS; i++)
        tree_fill(&s->trees[i], i + 1);
    list_packs(s, "none");
    back_up(s, FIRST, "tree", NULL);
    note_pack(s, "none", "1", s->other_pack);
    list_packs(s, "first");
    back_up(s, SECOND, "tree", &s->backups[FIRST]);
    note_pack(s, "first", "1", s->data_pack);
    note_pack(s, "first", "2", s->meta_pack);
    back_up(s, OTHER, "other", NULL);
    repository_backup(s->foreign, s->trees[SECOND].entries, FILES, NULL, &s->foreign_backup);
    Uuid id = repo_facts(s->r->repo)->id;
    canon_array(&epoch, 2);
    canon_bin(&epoch, (Slice){id.bytes, sizeof id.bytes});
    canon_uint(&epoch, 0);
    assert_true(store_replace(s->r->store, "epoch", buf_slice(&epoch), &err));
    snprintf(s->pristine, sizeof s->pristine, "%s/pristine", s->r->dir);
    shell("chmod -R u+w %s && cp -a %s %s", s->r->store_path, s->r->store_path, s->pristine);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    Scene *s = *state;
    for (unsigned i = 0; i < BACKUPS; i++) {
        tree_free(&s->trees[i]);
        repo_backup_free(&s->backups[i]);
    }
    repo_backup_free(&s->foreign_backup);
    repository_free(s->r);
    repository_free(s->foreign);
    mem_free(s);
    return 0;
}

/* --- what can be restored --------------------------------------------------------------------- */

typedef struct Outcome {
    const Tree *tree;
    RepoReader *reader;
    size_t entry;
    uint64_t at;
    unsigned whole, damaged; /* entries; damaged counts a hidden page once */
    Err why;                 /* the first */
} Outcome;

static bool has_next_step(const char *text)
{
    static const char *const steps[] = {"another", "copy", "copies", "mounted", "again"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strstr(text, steps[i]) != NULL)
            return true;
    return false;
}

static void must_be_named(const char *case_name, const Err *err)
{
    if (err->cause[0] == 0 || err->code == ERR_NONE || err->code == ERR_BUG ||
        !has_next_step(err->text))
        fail_msg("%s: no name or no next step: %s: %s", case_name, err->cause, err->text);
}

static void note(Outcome *o, const Err *why)
{
    if (o->damaged++ == 0)
        o->why = *why;
}

static void on_damage(void *ctx, Text from_path, const Err *why)
{
    (void)from_path;
    note(ctx, why);
}

static bool same_data(void *ctx, Slice bytes, Err *err)
{
    (void)err;
    Outcome *o = ctx;
    const RepositoryEntry *e = &o->tree->entries[o->entry];
    assert_true(o->at + bytes.len <= e->content.len);
    assert_memory_equal(bytes.at, e->content.at + o->at, bytes.len);
    o->at += bytes.len;
    return true;
}

static bool same_zeros(void *ctx, uint64_t count, Err *err)
{
    (void)ctx;
    (void)err;
    assert_int_equal(count, 0); /* there are no holes */
    return true;
}

static bool same_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    (void)stop;
    Outcome *o = ctx;
    while (o->entry < FILES && !text_equal(o->tree->entries[o->entry].entry.path, entry->path))
        o->entry++; /* hidden by a page that is damaged */
    assert_true(o->entry < FILES);
    ReaderSink sink = {o, same_data, same_zeros};
    Err why = {0};
    o->at = 0;
    if (reader_content(o->reader, content, &sink, &why)) {
        assert_int_equal(o->at, o->tree->entries[o->entry].content.len);
        o->whole++;
    } else {
        note(o, &why);
    }
    o->entry++;
    (void)err;
    return true;
}

static void restore(const Scene *s, unsigned number, Outcome *o)
{
    RepoLocator *locator;
    Err err = {0};
    *o = (Outcome){.tree = &s->trees[number]};
    if (!locator_open_index(&locator, s->r->repo, NULL, &err)) {
        note(o, &err);
        return;
    }
    ReaderParams params = {.repo = s->r->repo, .locator = locator, .backup = s->backups[number].id};
    if (!reader_open(&o->reader, &params, &err)) {
        note(o, &err);
    } else {
        reader_on_damage(o->reader, on_damage, o);
        if (!reader_walk(o->reader, NULL, same_entry, o, &err))
            note(o, &err);
        reader_close(o->reader);
    }
    locator_close(locator);
}

/* --- harms ------------------------------------------------------------------------------------ */

typedef struct Target {
    const char *kind;
    char path[PATH], older[PATH], foreign[PATH];
    bool opens;    /* the repository opens without it */
    bool needed;   /* the second backup needs it */
    bool partly;   /* and only some of its entries do */
    bool writable; /* the next backup is whole without anyone's help */
} Target;

static void name_of(char out[PATH], const char *folder, const Uuid *id)
{
    char text[UUID_TEXT];
    uuid_text(id, text);
    snprintf(out, PATH, "%s/%s", folder, text);
}

static Target of_backup(const Scene *s, const char *kind, bool needed)
{
    Target t = {.kind = kind, .opens = true, .needed = needed, .writable = true};
    bool index = strcmp(kind, "index") == 0;
    name_of(t.path, kind, index ? &s->backups[SECOND].index : &s->backups[SECOND].id);
    name_of(t.older, kind, index ? &s->backups[FIRST].index : &s->backups[FIRST].id);
    name_of(t.foreign, kind, index ? &s->foreign_backup.index : &s->foreign_backup.id);
    return t;
}

static Target of_place(const char *kind, const char *path, bool opens)
{
    Target t = {.kind = kind, .opens = opens, .writable = opens};
    snprintf(t.path, PATH, "%s", path);
    snprintf(t.foreign, PATH, "%s", path);
    return t;
}

static Target of_pack(const Scene *s, const char *kind, const char *path)
{
    Target t = {.kind = kind, .opens = true, .needed = true, .partly = true};
    snprintf(t.path, PATH, "%s", path);
    snprintf(t.older, PATH, "%s", s->other_pack);
    return t;
}

/* `%s` is the object; HARM works in the store's folder. */
static void harm(const Scene *s, const Target *t, const char *how)
{
    shell("find %s -mindepth 1 -delete && cp -a %s/. %s", s->r->store_path, s->pristine,
          s->r->store_path);
    if (strcmp(how, "missing") == 0)
        shell("cd %s && rm %s", s->r->store_path, t->path);
    else if (strcmp(how, "empty") == 0)
        shell("cd %s && : > %s", s->r->store_path, t->path);
    else if (strcmp(how, "truncated") == 0)
        shell("cd %s && truncate -s $(($(stat -c %%s %s) * 2 / 3)) %s", s->r->store_path, t->path,
              t->path);
    else if (strcmp(how, "longer") == 0)
        shell("cd %s && echo more >> %s", s->r->store_path, t->path);
    else if (strcmp(how, "flipped") == 0)
        shell("cd %s && f=%s && n=$(($(stat -c %%s $f) / 2)) && b=$(od -An -tu1 -j$n -N1 $f) && "
              "printf \"\\\\$(printf %%o $((b ^ 4)))\" | dd of=$f bs=1 seek=$n conv=notrunc "
              "status=none",
              s->r->store_path, t->path);
    else if (strcmp(how, "garbage") == 0)
        shell("cd %s && n=$(stat -c %%s %s) && head -c $n /dev/urandom > %s", s->r->store_path,
              t->path, t->path);
    else if (strcmp(how, "replayed") == 0)
        shell("cd %s && cp %s %s", s->r->store_path, t->older, t->path);
    else if (strcmp(how, "swapped") == 0)
        shell("cd %s && cp %s x && cp %s %s && mv x %s", s->r->store_path, t->older, t->path,
              t->older, t->path);
    else if (strcmp(how, "foreign") == 0)
        shell("cp %s/%s %s/%s", s->foreign->store_path, t->foreign, s->r->store_path, t->path);
}

static bool reopen(Scene *s, Err *err)
{
    repo_close(s->r->repo);
    s->r->repo = NULL;
    Repo *repo;
    if (!repo_open(&repo, s->r->store, s->r->keyring, NULL, err))
        return false;
    s->r->repo = repo;
    return true;
}

/* The next backup after a harm; its pack rows go away with the ledger's job. */
static void next_backup(Scene *s, const char *case_name)
{
    RepoBackup backup;
    WriterParams params;
    Err err = {0};
    Outcome o;
    Scene next = *s;
    ledger_job(s->r->ledger);
    repository_params(s->r, &s->backups[SECOND], &params);
    params.source = TEXT("tree");
    if (!repository_try(&params, s->trees[SECOND].entries, FILES, &backup, NULL, &err))
        fail_msg("%s: the next backup: %s", case_name, err.text);
    next.backups[SECOND] = backup;
    restore(&next, SECOND, &o);
    if (o.whole != FILES)
        fail_msg("%s: the next backup is not whole: %s", case_name, o.why.text);
    repo_backup_free(&backup);
}

static void check_case(Scene *s, const Target *t, const char *how)
{
    char case_name[80];
    Err err = {0};
    Outcome o[BACKUPS];
    snprintf(case_name, sizeof case_name, "%s %s", how, t->kind);
    harm(s, t, how);
    bool benign = !t->needed && t->opens;
    if (!reopen(s, &err)) {
        must_be_named(case_name, &err);
        if (t->opens)
            fail_msg("%s: the repository does not open: %s", case_name, err.text);
        return;
    }
    if (!t->opens)
        fail_msg("%s: the repository opened", case_name);
    for (unsigned i = 0; i < BACKUPS; i++)
        restore(s, i, &o[i]);
    bool both = strcmp(how, "swapped") == 0; /* the first has lost its object too */
    if ((o[FIRST].whole != FILES && !(both && t->needed)) || o[OTHER].whole != FILES)
        fail_msg("%s: what is whole is not restored: %s%s", case_name, o[FIRST].why.text,
                 o[OTHER].why.text);
    if (benign && o[SECOND].whole != FILES)
        fail_msg("%s: nothing needs it, and yet: %s", case_name, o[SECOND].why.text);
    if (t->needed && (o[SECOND].damaged == 0 || o[SECOND].whole == FILES))
        fail_msg("%s: it was not noticed", case_name);
    if (t->needed)
        must_be_named(case_name, &o[SECOND].why);
    if (t->partly && strcmp(t->kind, "data pack") == 0 && o[SECOND].whole == 0)
        fail_msg("%s: nothing at all is restored", case_name);
    if (t->writable)
        next_backup(s, case_name);
}

static void check_kind(Scene *s, const Target *t, const char *const *hows)
{
    for (; *hows != NULL; hows++)
        check_case(s, t, *hows);
}

static const char *const ANY[] = {"missing", "empty",    "truncated", "longer",  "flipped",
                                  "garbage", "replayed", "swapped",   "foreign", NULL};
static const char *const ONLY_ONE[] = {"missing", "empty",   "truncated", "longer",
                                       "flipped", "garbage", "foreign",   NULL};
static const char *const PACKS[] = {"missing", "empty",   "truncated", "flipped",
                                    "garbage", "swapped", NULL};
static const char *const HARMLESS_GONE[] = {"empty",   "truncated", "longer", "garbage",
                                            "foreign", "missing",   NULL};

static void config_and_keys_are_refused_by_name(void **state)
{
    Scene *s = *state;
    Target config = of_place("config", "config", false);
    Target keys = of_place("keys", "keys/test", false);
    check_kind(s, &config, ONLY_ONE);
    check_kind(s, &keys, ONLY_ONE);
}

static void an_epoch_that_does_not_open_stops_no_restore(void **state)
{
    Scene *s = *state;
    Target epoch = of_place("epoch", "epoch", true);
    snprintf(epoch.foreign, PATH, "config");
    check_kind(s, &epoch, HARMLESS_GONE);
    harm(s, &epoch, "garbage");
    Err err = {0};
    assert_true(reopen(s, &err));
    assert_true(repo_facts(s->r->repo)->epoch == REPO_EPOCH_UNKNOWN);
}

static void without_index_marker_or_parent_list_all_is_restored(void **state)
{
    Scene *s = *state;
    static const char *const kinds[] = {"index", "commits", "parents"};
    for (size_t i = 0; i < 3; i++) {
        Target t = of_backup(s, kinds[i], false);
        check_kind(s, &t, ANY);
    }
}

static void a_manifest_costs_its_backup_alone(void **state)
{
    Scene *s = *state;
    Target t = of_backup(s, "manifests", true);
    check_kind(s, &t, ANY);
}

static void a_pack_costs_the_entries_in_it(void **state)
{
    Scene *s = *state;
    Target data = of_pack(s, "data pack", s->data_pack);
    Target meta = of_pack(s, "meta pack", s->meta_pack);
    check_kind(s, &data, PACKS);
    check_kind(s, &meta, PACKS);
}

/* A host of the same key set that may not write this source puts a backup in the place of another.
 */
static void a_manifest_by_a_host_that_may_not_write_the_source_is_refused(void **state)
{
    Scene *s = *state;
    Err err = {0};
    Outcome o;
    WriterParams params;
    RepoBackup out;
    Repo *repo;
    Target t = of_backup(s, "manifests", true);
    Target parents = of_backup(s, "parents", true);
    harm(s, &t, "missing");
    shell("rm %s/%s", s->r->store_path, parents.path);
    Keyring *stranger = repository_stranger(s->r, "mail");
    assert_true(repo_open(&repo, s->r->store, stranger, NULL, &err));
    ledger_job(s->r->ledger);
    repository_params(s->r, &s->backups[FIRST], &params);
    params.repo = repo;
    params.backup = s->backups[SECOND].id;
    assert_true(repository_try(&params, s->trees[SECOND].entries, FILES, &out, NULL, &err));
    assert_true(reopen(s, &err));
    restore(s, SECOND, &o);
    assert_int_equal(o.whole, 0);
    assert_string_equal(o.why.cause, "repo.wrong_signer");
    must_be_named("a stranger's manifest", &o.why);
    restore(s, FIRST, &o);
    assert_int_equal(o.whole, FILES);
    repo_backup_free(&out);
    repo_close(repo);
    keyring_close(stranger);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(config_and_keys_are_refused_by_name),
        TEST(an_epoch_that_does_not_open_stops_no_restore),
        TEST(without_index_marker_or_parent_list_all_is_restored),
        TEST(a_manifest_costs_its_backup_alone),
        TEST(a_pack_costs_the_entries_in_it),
        TEST(a_manifest_by_a_host_that_may_not_write_the_source_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
