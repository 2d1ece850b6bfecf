/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/file_tree.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

void file_tree_shell(const char *format, ...)
{
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("the command failed: %s", command);
}

int file_tree_set_up(void **state)
{
    FileTree *place = mem_new(FileTree);
    snprintf(place->top, sizeof place->top, "/tmp/files-engine.XXXXXX");
    if (mkdtemp(place->top) == NULL)
        return -1;
    snprintf(place->tree, sizeof place->tree, "%s/tree", place->top);
    snprintf(place->out, sizeof place->out, "%s/out", place->top);
    mkdir(place->tree, 0755);
    *state = place;
    return 0;
}

int file_tree_tear_down(void **state)
{
    FileTree *place = *state;
    file_tree_shell("chmod -R u+rwx %s; rm -rf %s", place->top, place->top);
    mem_free(place);
    return 0;
}

json_t *file_tree_config(const FileTree *place)
{
    return json_pack("{s:[s]}", "paths", place->tree);
}

json_t *file_tree_request(const FileTree *place)
{
    return json_pack("{s:{s:s},s:{s:b,s:b,s:b},s:s}", "target", "path", place->out, "options",
                     "devices", 1, "setuid", 1, "security", 1, "mark", "jb_1");
}

void file_tree_put(const FileTree *place, const char *name, const void *bytes, size_t len)
{
    int directory = open(place->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(directory, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
    close(directory);
}

/* rsync says nothing when two trees are equal in content, modes, owners, links, ACLs, attributes,
 * special files, and, asked by the window of -1, in times to the nanosecond. */
void file_tree_differs(const FileTree *place, char *line, size_t room)
{
    char command[600];
    line[0] = '\0';
    snprintf(command, sizeof command,
             "rsync -aHAXS --numeric-ids --modify-window=-1 --checksum --delete -n -i %s/ %s%s/ "
             "2>&1",
             place->tree, place->out, place->tree);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (fgets(line, (int)room, pipe) == NULL)
        line[0] = '\0';
    while (fgetc(pipe) != EOF)
        ;
    assert_int_equal(pclose(pipe), 0);
}

void file_tree_assert_equal(const FileTree *place)
{
    char line[300];
    file_tree_differs(place, line, sizeof line);
    if (line[0] != '\0')
        fail_msg("the trees differ: %s", line);
}
