/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_put_back.h"

#include "common/repo/quarantine.h"
#include "common/store/store.h"
#include "worker/vault/vault_files.h"

#include <stdio.h>

static bool show(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)ctx;
    (void)err;
    printf("%s  %llu bytes\n", name, (unsigned long long)size);
    return true;
}

/* "packs/…" of "quarantine/packs/….7"; false: nothing is kept under such a name. */
static bool place_of(const char *object, char place[STORE_NAME_MOST + 1])
{
    static const char *const folders[] = {"packs/", "index/", "manifests/", "parents/", "commits/"};
    static const char aside[] = "quarantine/";
    if (!store_name_valid(object) || strncmp(object, aside, sizeof aside - 1) != 0)
        return false;
    const char *name = object + sizeof aside - 1, *dot = strrchr(name, '.');
    if (dot == NULL || dot[1 + strspn(dot + 1, "0123456789")] != 0)
        return false;
    snprintf(place, STORE_NAME_MOST + 1, "%.*s", (int)(dot - name), name);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (strncmp(name, folders[i], strlen(folders[i])) == 0)
            return true;
    return false;
}

static bool put_back(Store *store, const VaultArgs *args, Err *err)
{
    bool found;
    uint64_t size;
    char place[STORE_NAME_MOST + 1];
    if (!store_head(store, "config", &found, &size, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "store.not_a_repository",
                       "%s/%s holds no repository; is its disk mounted?", args->stores[0],
                       args->name);
    if (args->object == NULL)
        return store_list(store, "quarantine/", show, NULL, err);
    if (!place_of(args->object, place))
        return err_set(err, ERR_USAGE, "repo.object",
                       "'%s' is not the name of an object in quarantine; without --object they are "
                       "listed",
                       args->object);
    if (!quarantine_copy(store, args->object, place, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "repo.object", "there is no %s", args->object);
    printf("%s is back; tell the catalogue:  holdfast catalogue merge STORE\n", place);
    return true;
}

bool vault_put_back(const VaultArgs *args, Err *err)
{
    Store *store = NULL;
    bool done = vault_need(args->name, "the key set's name", err) &&
                vault_need(args->stores[0], "--store", err) &&
                vault_open_place(args->stores[0], args->name, false, &store, err) &&
                put_back(store, args, err);
    store_close(store);
    return done;
}
