/* SPDX-License-Identifier: Apache-2.0
 * files_ahead_test.c — what is looked at ahead is what the walk yields, wherever one stops. */
#include "worker/engine/files_ahead.h"

#include "worker/engine/files_stand.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

enum { DIRECTORIES = 40, FILES = 30 };

static char top[] = "/var/tmp/files-ahead.XXXXXX";

static int set_up(void **state)
{
    char name[160];
    (void)state;
    assert_non_null(mkdtemp(top));
    for (int d = 0; d < DIRECTORIES; d++) {
        snprintf(name, sizeof name, "%s/d%02d", top, d);
        assert_int_equal(mkdir(name, 0700), 0);
        for (int f = 0; f < FILES; f++) {
            snprintf(name, sizeof name, "%s/d%02d/f%02d", top, d, f);
            close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
            int number = 100 * d + f;
            if (f % 7 == 0)
                assert_int_equal(setxattr(name, "user.number", &number, sizeof number, 0), 0);
        }
    }
    return 0;
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(top, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void no_issue(void *ctx, const Issue *issue)
{
    (void)ctx;
    fail_msg("%.*s: %.*s", TEXT_ARG(issue->path), TEXT_ARG(issue->text));
}

static FilesWalk *walk_of_top(void)
{
    Err err = {0};
    FilesWalk *walk;
    Text root = text_of(top);
    FilesWalkParams params = {.roots = &root, .root_count = 1, .issue = no_issue};
    assert_true(files_walk_open(&walk, &params, &err));
    return walk;
}

/* Its directory must still be open, and its attributes be its own: there already, or to be asked
 * for where it is a regular file. */
static void assert_is_there(FilesStand *stand, FilesSeen *seen)
{
    struct stat now;
    int number;
    const FilesFound *found = &seen->found;
    assert_int_equal(fstatat(found->directory, found->name, &now, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(now.st_ino, found->status.st_ino);
    assert_int_equal(seen->looked, !S_ISREG(now.st_mode));
    if (!seen->looked)
        seen->xattr_errno = files_stand_look(stand, found, &seen->xattr);
    assert_int_equal(seen->xattr_errno, 0);
    bool numbered = S_ISREG(now.st_mode) && atoi(found->name + 1) % 7 == 0;
    assert_int_equal(seen->xattr.count, numbered ? 1 : 0);
    if (!numbered)
        return;
    assert_int_equal(seen->xattr.list[0].value.len, sizeof number);
    memcpy(&number, seen->xattr.list[0].value.at, sizeof number);
    assert_int_equal(number % 100, atoi(found->name + 1));
    assert_int_equal(number / 100, atoi(found->name - 3)); /* of "d05/f07" */
}

static void *walk_both(void *ignored)
{
    Err err = {0};
    FilesStand stand = {0};
    FilesWalk *plain = walk_of_top(), *walk = walk_of_top();
    FilesAhead *ahead;
    FilesSeen *seen;
    FilesFound found;
    bool more;
    size_t count = 0;
    assert_true(files_ahead_open(&ahead, walk, &err));
    for (;; count++) {
        assert_true(files_walk_next(plain, &found, &more, &err));
        assert_true(files_ahead_next(ahead, &seen, &err));
        assert_int_equal(seen != NULL, more);
        if (seen == NULL)
            break;
        assert_true(text_equal(seen->found.path, found.path));
        assert_is_there(&stand, seen);
    }
    assert_int_equal(stand.own, gettid() != getpid());
    assert_int_equal(count, 1 + DIRECTORIES * (1 + FILES));
    assert_true(files_ahead_next(ahead, &seen, &err) && seen == NULL);
    files_stand_leave(&stand);
    files_ahead_close(ahead);
    files_walk_close(walk);
    files_walk_close(plain);
    return ignored;
}

static void it_yields_what_the_walk_does(void **state)
{
    (void)state;
    walk_both(NULL);
}

static void it_can_be_left_anywhere(void **state)
{
    (void)state;
    for (size_t stop = 0; stop < 1300; stop += 61) {
        Err err = {0};
        FilesWalk *walk = walk_of_top();
        FilesAhead *ahead;
        FilesSeen *seen;
        assert_true(files_ahead_open(&ahead, walk, &err));
        for (size_t i = 0; i < stop; i++)
            assert_true(files_ahead_next(ahead, &seen, &err));
        files_ahead_close(ahead);
        files_walk_close(walk);
    }
}

/* The threads' directories are their own: relative paths of this program mean what they did. */
static void it_leaves_the_working_directory_alone(void **state)
{
    (void)state;
    char before[4096], after[4096];
    Err err = {0};
    FilesWalk *walk = walk_of_top();
    FilesAhead *ahead;
    FilesSeen *seen;
    assert_non_null(getcwd(before, sizeof before));
    assert_true(files_ahead_open(&ahead, walk, &err));
    for (int i = 0; i < 200; i++)
        assert_true(files_ahead_next(ahead, &seen, &err));
    assert_non_null(getcwd(after, sizeof after));
    assert_string_equal(before, after);
    files_ahead_close(ahead);
    files_walk_close(walk);

    pthread_t other;
    walk_both(NULL);
    assert_int_equal(pthread_create(&other, NULL, walk_both, NULL), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_non_null(getcwd(after, sizeof after));
    assert_string_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_yields_what_the_walk_does),
        cmocka_unit_test(it_can_be_left_anywhere),
        cmocka_unit_test(it_leaves_the_working_directory_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
