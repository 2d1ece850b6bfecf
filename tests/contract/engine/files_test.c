/* SPDX-License-Identifier: Apache-2.0
 * The contract of the engine files: one tree that stands still, which rsync judges, and one in
 * which files are made anew, replaced and removed all the time, of which each must be whole. */
#include "tests/contract/engine/contract.h"

#include <setjmp.h>
#include <sys/stat.h>

enum { LINES = 3000, FILES = 20 };

typedef struct Live {
    char live[100], beside[100];
} Live;

/* Each file holds one number on all its lines, and comes to be under its name at once. */
static void write_file(void *ctx, unsigned turn)
{
    const Live *place = ctx;
    char made[160], name[160];
    snprintf(made, sizeof made, "%s/made", place->beside);
    snprintf(name, sizeof name, "%s/f%u", place->live, turn % FILES);
    FILE *file = fopen(made, "w");
    for (unsigned i = 0; file != NULL && i < LINES; i++)
        fprintf(file, "%u\n", turn);
    if (file == NULL || fclose(file) != 0 || rename(made, name) != 0)
        return;
    snprintf(name, sizeof name, "%s/f%u", place->live, turn * 7 % FILES);
    if (turn % 5 == 0)
        unlink(name);
    usleep(2000);
}

static void judge(Stage *stage, void *ctx, bool still)
{
    const Live *place = ctx;
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    file_tree_shell("for f in %s%s/*; do test $(sort -u $f | wc -l) = 1 && test $(wc -l < $f) = %d "
                    "|| { echo torn: $f; exit 1; }; done",
                    stage->tree->out, place->live, LINES);
    if (still)
        file_tree_shell("test -z \"$(rsync -aHAXS --checksum --delete -n -i %s/ %s%s/)\"",
                        place->live, stage->tree->out, place->live);
    file_tree_shell("rm -rf %s", stage->tree->out);
}

static void a_tree_that_is_written_to_survives_every_kill(void **state)
{
    Live place;
    char config[400];
    (void)state;
    Stage *stage = contract_stage(NULL);
    snprintf(place.live, sizeof place.live, "%s/live", stage->tree->top);
    snprintf(place.beside, sizeof place.beside, "%s/beside", stage->tree->top);
    assert_int_equal(mkdir(place.live, 0755) + mkdir(place.beside, 0755), 0);
    file_tree_shell("cd %s && mkdir -p a/b && for i in 1 2 3; do head -c 3000000 /dev/urandom > "
                    "a/b/$i; done && echo one > a/one && ln a/one again && ln -s a/one link",
                    stage->tree->tree);
    for (unsigned i = 0; i < FILES; i++)
        write_file(&place, i);
    snprintf(config, sizeof config, "{\"paths\":[\"%s\",\"%s\"]}", stage->tree->tree, place.live);
    stage_policy(stage, "files", config, "");
    Contract contract = {.stage = stage, .ctx = &place, .write = write_file, .judge = judge};
    contract_run(&contract);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_that_is_written_to_survives_every_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
