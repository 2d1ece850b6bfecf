/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_owner.h"

#include "common/base/mem.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>

typedef struct Known {
    char *name; /* NULL: the number has no name */
    uint32_t number;
    bool found; /* the name is one of this host */
} Known;

typedef struct Table {
    Known *rows; /* a tree has few owners: they are searched in turn, the last one first */
    size_t count, recent;
} Table;

struct FilesOwner {
    pthread_mutex_t lock;
    Table users, groups;               /* by number */
    Table user_numbers, group_numbers; /* by name */
};

FilesOwner *files_owner_new(void)
{
    FilesOwner *owner = mem_new(FilesOwner);
    pthread_mutex_init(&owner->lock, NULL);
    return owner;
}

static void table_free(Table *table)
{
    for (size_t i = 0; i < table->count; i++)
        mem_free(table->rows[i].name);
    mem_free(table->rows);
}

void files_owner_free(FilesOwner *owner)
{
    if (owner == NULL)
        return;
    table_free(&owner->users);
    table_free(&owner->groups);
    table_free(&owner->user_numbers);
    table_free(&owner->group_numbers);
    pthread_mutex_destroy(&owner->lock);
    mem_free(owner);
}

static Known *add(Table *table, Known row)
{
    table->rows = mem_resize(table->rows, (table->count + 1) * sizeof table->rows[0]);
    table->rows[table->count] = row;
    table->recent = table->count;
    return &table->rows[table->count++];
}

static Known *by_number(Table *table, uint32_t number)
{
    if (table->count > 0 && table->rows[table->recent].number == number)
        return &table->rows[table->recent];
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].number == number) {
            table->recent = i;
            return &table->rows[i];
        }
    return NULL;
}

static Known *by_name(Table *table, Text name)
{
    if (table->count > 0 && text_equal(text_of(table->rows[table->recent].name), name))
        return &table->rows[table->recent];
    for (size_t i = 0; i < table->count; i++)
        if (text_equal(text_of(table->rows[i].name), name)) {
            table->recent = i;
            return &table->rows[i];
        }
    return NULL;
}

/* One question to the system; `name` set asks by name, else by number. */
static bool ask(bool group, const char *name, uint32_t *number, char **told)
{
    char space[4096];
    if (group) {
        struct group row, *found = NULL;
        int failed = name != NULL ? getgrnam_r(name, &row, space, sizeof space, &found)
                                  : getgrgid_r(*number, &row, space, sizeof space, &found);
        if (failed != 0 || found == NULL)
            return false;
        *number = found->gr_gid;
        *told = mem_string(found->gr_name);
        return true;
    }
    struct passwd row, *found = NULL;
    int failed = name != NULL ? getpwnam_r(name, &row, space, sizeof space, &found)
                              : getpwuid_r(*number, &row, space, sizeof space, &found);
    if (failed != 0 || found == NULL)
        return false;
    *number = found->pw_uid;
    *told = mem_string(found->pw_name);
    return true;
}

static Text name_of(FilesOwner *owner, Table *table, bool group, uint32_t number)
{
    pthread_mutex_lock(&owner->lock);
    Known *row = by_number(table, number);
    if (row == NULL) {
        Known made = {.number = number};
        uint32_t asked = number;
        made.found = ask(group, NULL, &asked, &made.name);
        row = add(table, made);
    }
    Text name = text_of(row->name);
    pthread_mutex_unlock(&owner->lock);
    return name;
}

static uint32_t number_of(FilesOwner *owner, Table *table, bool group, Text name, uint32_t number)
{
    if (name.len == 0)
        return number;
    pthread_mutex_lock(&owner->lock);
    Known *row = by_name(table, name);
    if (row == NULL) {
        Known made = {.name = mem_text(name)};
        char *told = NULL;
        made.found = ask(group, made.name, &made.number, &told);
        mem_free(told);
        row = add(table, made);
    }
    uint32_t answer = row->found ? row->number : number;
    pthread_mutex_unlock(&owner->lock);
    return answer;
}

Text files_owner_user(FilesOwner *owner, uid_t uid)
{
    return name_of(owner, &owner->users, false, uid);
}

Text files_owner_group(FilesOwner *owner, gid_t gid)
{
    return name_of(owner, &owner->groups, true, gid);
}

uid_t files_owner_uid(FilesOwner *owner, Text user, uid_t number)
{
    return number_of(owner, &owner->user_numbers, false, user, number);
}

gid_t files_owner_gid(FilesOwner *owner, Text group, gid_t number)
{
    return number_of(owner, &owner->group_numbers, true, group, number);
}
