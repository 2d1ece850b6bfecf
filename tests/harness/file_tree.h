/* SPDX-License-Identifier: Apache-2.0
 * file_tree.h — a private directory with a tree to back up and a place to restore to; rsync judges
 * whether two trees are equal. */
#ifndef TESTS_HARNESS_FILE_TREE_H
#define TESTS_HARNESS_FILE_TREE_H

#include "protocol/err.h"

#include <jansson.h>

typedef struct FileTree {
    char top[64];  /* everything of one test */
    char tree[80]; /* what is backed up */
    char out[80];  /* where it is restored to */
} FileTree;

/* For cmocka_unit_test_setup_teardown: *state is a FileTree. */
int file_tree_set_up(void **state);
int file_tree_tear_down(void **state);

/* Runs a shell command; the test fails when it does. */
void file_tree_shell(const char *format, ...) PRINTF_LIKE(1, 2);
void file_tree_put(const FileTree *place, const char *name, const void *bytes, size_t len);

/* A source's config for the tree, and a request that restores everything it can hold. */
json_t *file_tree_config(const FileTree *place);
json_t *file_tree_request(const FileTree *place);

/* The first thing in which out/<absolute path of the tree> differs from the tree, "" for none:
 * content, modes, owners, times to the nanosecond, links, access lists, attributes, special files.
 */
void file_tree_differs(const FileTree *place, char *line, size_t room);
void file_tree_assert_equal(const FileTree *place);

#endif
