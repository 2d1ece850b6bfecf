/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/store.h"

static bool inner(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

bool store_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > STORE_NAME_MOST)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool edge = i == 0 || i + 1 == len || name[i - 1] == '/' || name[i + 1] == '/';
        if (!inner(name[i]) && (edge || (name[i] != '/' && name[i] != '.')))
            return false;
    }
    return true;
}

void store_name_relative(const char *name, const char *target, Buf *out)
{
    size_t same = 0;
    for (size_t i = 0; name[i] != 0 && name[i] == target[i]; i++)
        if (name[i] == '/')
            same = i + 1;
    for (const char *at = name + same; (at = strchr(at, '/')) != NULL; at++)
        buf_add_text(out, TEXT("../"));
    buf_add_text(out, text_of(target + same));
}

static bool check_name(const char *name, Err *err)
{
    return store_name_valid(name) ||
           err_set(err, ERR_BUG, "store.name", "'%.80s' is not an object's name", name);
}

void store_close(Store *store)
{
    if (store != NULL)
        store->ops->close(store);
}

bool store_put_begin(Store *s, const char *name, StorePut **out, Err *err)
{
    *out = NULL;
    return check_name(name, err) && s->ops->put_begin(s, name, out, err);
}

bool store_put_write(StorePut *put, Slice bytes, Err *err)
{
    return put->store->ops->put_write(put->store, put, bytes, err);
}

bool store_put_finish(StorePut *put, Err *err)
{
    return put->store->ops->put_finish(put->store, put, err);
}

void store_put_abort(StorePut *put)
{
    if (put != NULL)
        put->store->ops->put_abort(put->store, put);
}

bool store_put(Store *s, const char *name, Slice bytes, Err *err)
{
    StorePut *put;
    if (!store_put_begin(s, name, &put, err))
        return false;
    if (!store_put_write(put, bytes, err)) {
        store_put_abort(put);
        return false;
    }
    return store_put_finish(put, err);
}

bool store_replace(Store *s, const char *name, Slice bytes, Err *err)
{
    return check_name(name, err) && s->ops->replace(s, name, bytes, err);
}

bool store_alias(Store *s, const char *name, const char *target, bool *made, Err *err)
{
    *made = false;
    return check_name(name, err) && check_name(target, err) &&
           s->ops->alias(s, name, target, made, err);
}

bool store_get(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err)
{
    *found = false;
    return check_name(name, err) && s->ops->get(s, name, most, found, out, err);
}

bool store_get_range(Store *s, const char *name, uint64_t offset, size_t len, uint8_t *at, Err *err)
{
    return check_name(name, err) && s->ops->get_range(s, name, offset, len, at, err);
}

bool store_head(Store *s, const char *name, bool *found, uint64_t *size, Err *err)
{
    *found = false;
    *size = 0;
    return check_name(name, err) && s->ops->head(s, name, found, size, err);
}

/* "" or a name with a '/' behind it. */
static bool check_prefix(const char *prefix, Err *err)
{
    char name[STORE_NAME_MOST + 1];
    size_t len = strlen(prefix);
    if (len == 0)
        return true;
    if (len > STORE_NAME_MOST || prefix[len - 1] != '/')
        return err_set(err, ERR_BUG, "store.name", "'%.80s' is not a prefix of names", prefix);
    memcpy(name, prefix, len - 1);
    name[len - 1] = 0;
    return check_name(name, err);
}

static bool list(Store *s, const StoreListing *listing, Err *err)
{
    return check_prefix(listing->prefix, err) && s->ops->list(s, listing, err);
}

bool store_list(Store *s, const char *prefix, StoreVisit *visit, void *ctx, Err *err)
{
    return list(s, &(StoreListing){.prefix = prefix, .visit = visit, .ctx = ctx}, err);
}

bool store_list_names(Store *s, const char *prefix, const char *after, StoreVisit *visit, void *ctx,
                      Err *err)
{
    StoreListing names = {
        .prefix = prefix, .after = after, .names_only = true, .visit = visit, .ctx = ctx};
    return list(s, &names, err);
}

void store_let_remove(Store *s)
{
    s->removes = true;
}

static bool may_remove(const Store *s, const char *name, Err *err)
{
    return s->removes ||
           err_set(err, ERR_DENIED, "store.keeps",
                   "%s is not deleted: this store was not opened to delete from it", name);
}

bool store_remove(Store *s, const char *name, Err *err)
{
    return may_remove(s, name, err) && check_name(name, err) && s->ops->remove(s, name, err);
}

bool store_sweep(Store *s, StoreSweep *sweep, Err *err)
{
    sweep->found = sweep->removed = 0;
    return may_remove(s, "what puts left behind", err) && s->ops->sweep(s, sweep, err);
}
