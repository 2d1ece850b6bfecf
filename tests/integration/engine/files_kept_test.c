/* SPDX-License-Identifier: Apache-2.0
 * All that rsync can see of a tree is there again after a restore, and the judge itself is judged:
 * it must notice each of the differences that could be there. */
#include "common/base/json.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/memory_backup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A capability as `setcap cap_net_raw+ep` stores it. */
#define CAPABILITY "0x0100000200200000000000000000000000000000"

static const Engine *files(void)
{
    return engine_find(TEXT("files"));
}

static void round_trip(const FileTree *place)
{
    MemoryBackup memory = {0};
    Err err = {0};
    json_t *config = file_tree_config(place), *request = file_tree_request(place), *report = NULL;
    assert_true(memory_backup_take(&memory, files(), config, &err));
    if (!memory_backup_restore(&memory, files(), request, &report, &err))
        fail_msg("%s: %s", err.cause, err.text);
    if (memory.told.len > 0)
        fail_msg("something was told: %s", buf_cstr(&memory.told));
    json_decref(report);
    json_decref(config);
    json_decref(request);
    memory_backup_free(&memory);
}

/* What any user may make. */
static void plant(const FileTree *place)
{
    file_tree_shell(
        "cd %s && mkdir -p plain/inner sticky setgid empty && for i in $(seq 40); do head -c "
        "$((i * 977)) /dev/urandom > plain/$i; done && chmod 1770 sticky && chmod 2750 setgid && "
        "chmod 0555 empty && echo x > plain/setuid && chmod 4711 plain/setuid && echo x > "
        "plain/none && chmod 0000 plain/none && ln plain/1 setgid/one && ln plain/1 one && ln -s "
        "plain/1 link && ln -s \"$(printf 'no\\nwhere')\" plain/dangling && ln -P link link-again "
        "&& "
        "mkfifo plain/fifo && ln plain/fifo fifo-again && truncate -s 50M hole && printf middle | "
        "dd of=hole conv=notrunc bs=1 seek=20000000 status=none && truncate -s 5M end && printf a "
        "| dd of=end conv=notrunc status=none && printf 'a\\0b' > plain/nul && touch "
        "\"$(printf 'odd\\nname')\" \"$(printf 'odd\\377\\376')\" $(printf 'n%%.0s' $(seq 255))",
        place->tree);
    file_tree_shell(
        "cd %s && setfattr -n user.note -v hello plain/2 && setfattr -n user.raw -v 0x00ff0a "
        "plain/inner && setfattr -n user.empty plain/3 && setfattr -n user.large -v $(head -c 2000 "
        "/dev/zero | tr '\\0' v) plain/4 && setfacl -m u:1:rw,g:2:r plain/5 && setfacl -m "
        "u:1:rwx,m::r plain/6 && setfacl -m d:u:3:rx,d:g:4:rwx plain/inner && touch -d "
        "'1969-12-31 23:59:59.123456789 UTC' plain/7 && touch -d '2038-01-19 03:14:08.000000001 "
        "UTC' plain/8 && touch -h -d '2001-02-03 04:05:06.700000007' link plain/dangling && touch "
        "-d '2002-02-03 04:05:06.789012345' plain/fifo hole && touch -d '1999-09-09 "
        "09:09:09.999999999' empty plain/inner sticky setgid && touch -d '2011-11-11 "
        "11:11:11.111111111' plain .",
        place->tree);
}

static void plant_as_root(const FileTree *place)
{
    file_tree_shell(
        "cd %s && chown 1:2 plain/9 && chown 3:4 plain/inner && chown -h 5:6 link && chown "
        "4000000000:4000000001 plain/10 && chown 1:2 setgid && chmod 2770 setgid && chown 7:8 "
        "plain/fifo && cp /bin/true plain/tool && setfattr -n security.capability -v " CAPABILITY
        " plain/tool && cp /bin/true plain/owned && chown 1:1 plain/owned && chmod 6755 "
        "plain/owned && setfattr -n trusted.note -v t plain/11 && setfattr -h -n trusted.link -v l "
        "link && setfattr -n trusted.dir -v d sticky && mknod null c 1 3 && mknod disk b 7 200 && "
        "mknod wide c 4095 1048575 && chown 1:2 null && chmod 0640 null && python3 -c 'import "
        "socket; socket.socket(socket.AF_UNIX).bind(\"sock\")' && touch -d '2003-03-03 "
        "03:03:03.030303030' null sock && touch -d '2011-11-11 11:11:11.111111111' plain .",
        place->tree);
}

static int64_t blocks_of(const char *top, const char *tree, const char *name)
{
    char path[300];
    struct stat status;
    snprintf(path, sizeof path, "%s%s/%s", top, tree, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_blocks;
}

static void all_that_rsync_sees_is_there_again(void **state)
{
    static const char *const sparse[] = {"hole", "end"};
    const FileTree *place = *state;
    plant(place);
    if (geteuid() == 0)
        plant_as_root(place);
    round_trip(place);
    file_tree_assert_equal(place);
    /* rsync does not look at holes: no more than 64 KiB of blocks beside what holds bytes. */
    for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++)
        assert_true(blocks_of(place->out, place->tree, sparse[i]) <=
                    blocks_of("", place->tree, sparse[i]) + 128);
}

/* One difference after the other is made and must be seen; then it is mended. */
static void the_judge_sees_every_difference(void **state)
{
    static const struct {
        bool root;
        const char *make, *mend;
    } differences[] = {
        {false, "touch -d '2005-05-05 05:05:05.000000002' f", "touch -d @5.000000001 f"},
        {false, "touch -d @5.000000002 f", "touch -d @5.000000001 f"},
        {false, "touch -d @5.000000002 d", "touch -d @5.000000001 d"},
        {false, "touch -h -d @5.000000002 l", "touch -h -d @5.000000001 l"},
        {false, "chmod 4644 f", "chmod 644 f"},
        {false, "chmod 1755 d", "chmod 755 d"},
        {false, "setfattr -n user.n -v w f", "setfattr -n user.n -v v f"},
        {false, "setfattr -x user.n d", "setfattr -n user.n -v v d"},
        {false, "setfacl -m u:1:r,m::r f", "setfacl -m u:1:rw,m::r f"},
        {false, "setfacl -k d", "setfacl -m d:u:3:rx d"},
        {false, "echo y > f && touch -d @5.000000001 f", "echo x > f && touch -d @5.000000001 f"},
        {false, "cp -p f n && mv n g", "ln -f f g"},
        {false, "rm p && touch p", "rm p && mkfifo p && touch -d @5.000000001 p"},
        {true, "chown 1 f", "chown 0 f"},
        {true, "chown -h :1 l", "chown -h :0 l"},
        {true, "setfattr -x security.capability k",
         "setfattr -n security.capability -v " CAPABILITY " k"},
        {true, "setfattr -n trusted.n -v w f", "setfattr -n trusted.n -v v f"},
        {true, "rm c && mknod c c 1 5", "rm c && mknod c c 1 3 && touch -d @5.000000001 c"},
    };
    const FileTree *place = *state;
    bool root = geteuid() == 0;
    char line[300];
    file_tree_shell("cd %s && echo x > f && mkdir d && ln -s f l && mkfifo p && setfattr -n user.n "
                    "-v v f && setfattr -n user.n -v v d && setfacl -m u:1:rw f && setfacl -m "
                    "d:u:3:rx d && ln f g && chmod 644 f",
                    place->tree);
    if (root)
        file_tree_shell(
            "cd %s && mknod c c 1 3 && echo k > k && setfattr -n trusted.n -v v f && setfattr -n "
            "security.capability -v " CAPABILITY " k",
            place->tree);
    file_tree_shell("cd %s && touch -h -d @5.000000001 * .", place->tree);
    round_trip(place);
    for (size_t i = 0; i < sizeof differences / sizeof *differences; i++) {
        if (differences[i].root && !root)
            continue;
        file_tree_assert_equal(place);
        file_tree_shell("cd %s%s && %s && touch -d @5.000000001 .", place->out, place->tree,
                        differences[i].make);
        file_tree_differs(place, line, sizeof line);
        if (line[0] == '\0')
            fail_msg("not seen: %s", differences[i].make);
        file_tree_shell("cd %s%s && %s && touch -d @5.000000001 .", place->out, place->tree,
                        differences[i].mend);
    }
    file_tree_assert_equal(place);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, file_tree_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_that_rsync_sees_is_there_again),
        TEST(the_judge_sees_every_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
