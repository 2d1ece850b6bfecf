/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/redis_server.h"

#include "common/base/mem.h"
#include "common/queue/scripts.h"
#include "tests/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>

enum { BYTES_MOST = 112, KEYS_MOST = 256, WAITERS_MOST = 128 };

typedef struct Bytes {
    uint8_t at[BYTES_MOST];
    size_t len;
} Bytes;

/* A list; a hash as field, value, field, value; a set as its members; a string as one element. */
typedef struct Key {
    char name[96];
    size_t name_len;
    Bytes *items;
    size_t count, room;
    int64_t expires_ns; /* 0: never */
} Key;

typedef struct Waiter {
    void *connection;
    RedisServerWait *wait;
    char from[96], to[96];
    int64_t until_ns;
} Waiter;

typedef struct Keyspace {
    Key keys[KEYS_MOST];
    size_t count;
} Keyspace;

static struct {
    Keyspace now, kept;
    bool has_kept, up, scripts;
    uint64_t incarnation;
    int64_t calm_since;
    Waiter waiters[WAITERS_MOST];
    size_t waiter_count;
} server;

/* --- the keyspace ---------------------------------------------------------------------------- */

static void clear(Keyspace *space)
{
    for (size_t i = 0; i < space->count; i++)
        mem_free(space->keys[i].items);
    space->count = 0;
}

static void copy(Keyspace *to, const Keyspace *from)
{
    clear(to);
    for (size_t i = 0; i < from->count; i++) {
        Key *key = &to->keys[to->count++];
        *key = from->keys[i];
        key->room = key->count;
        key->items = mem_array(Bytes, key->count);
        if (key->count > 0)
            memcpy(key->items, from->keys[i].items, key->count * sizeof(Bytes));
    }
}

static void drop(Key *key)
{
    mem_free(key->items);
    *key = server.now.keys[--server.now.count];
}

static Key *find(Slice name)
{
    for (size_t i = 0; i < server.now.count; i++) {
        Key *key = &server.now.keys[i];
        if (key->name_len != name.len || memcmp(key->name, name.at, name.len) != 0)
            continue;
        if (key->expires_ns == 0 || key->expires_ns > vm_now())
            return key;
        drop(key);
        return NULL;
    }
    return NULL;
}

static Key *need(Slice name)
{
    Key *key = find(name);
    if (key != NULL)
        return key;
    if (server.now.count == KEYS_MOST || name.len >= sizeof key->name)
        abort();
    key = &server.now.keys[server.now.count++];
    *key = (Key){.name_len = name.len};
    memcpy(key->name, name.at, name.len);
    return key;
}

static Bytes bytes_of(Slice from)
{
    Bytes out = {.len = from.len};
    if (from.len > sizeof out.at)
        abort();
    memcpy(out.at, from.at, from.len);
    return out;
}

static Slice slice_of(const Bytes *bytes)
{
    return (Slice){bytes->at, bytes->len};
}

static void insert(Key *key, size_t at, Bytes value)
{
    if (key->count == key->room) {
        key->room = key->room == 0 ? 8 : 2 * key->room;
        key->items = mem_resize(key->items, key->room * sizeof(Bytes));
    }
    memmove(key->items + at + 1, key->items + at, (key->count - at) * sizeof(Bytes));
    key->items[at] = value;
    key->count++;
}

/* A key without elements is no key. */
static void take_out(Key *key, size_t at, size_t count)
{
    key->count -= count;
    memmove(key->items + at, key->items + at + count, (key->count - at) * sizeof(Bytes));
    if (key->count == 0)
        drop(key);
}

static size_t place(const Key *key, Slice value, size_t step)
{
    for (size_t i = 0; i < key->count; i += step)
        if (slice_equal(slice_of(&key->items[i]), value))
            return i;
    return SIZE_MAX;
}

/* --- replies --------------------------------------------------------------------------------- */

static redisReply *reply_new(int type)
{
    redisReply *reply = calloc(1, sizeof *reply); /* freeReplyObject frees it */
    if (reply == NULL)
        abort();
    reply->type = type;
    return reply;
}

static redisReply *number(int64_t value)
{
    redisReply *reply = reply_new(REDIS_REPLY_INTEGER);
    reply->integer = value;
    return reply;
}

static redisReply *bytes(int type, Slice value)
{
    redisReply *reply = reply_new(type);
    reply->str = calloc(1, value.len + 1);
    if (reply->str == NULL)
        abort();
    memcpy(reply->str, value.at, value.len);
    reply->len = value.len;
    return reply;
}

static redisReply *words(int type, const char *text)
{
    return bytes(type, slice_of_text(text_of(text)));
}

static redisReply *array(const Bytes *items, size_t count)
{
    redisReply *reply = reply_new(REDIS_REPLY_ARRAY);
    reply->elements = count;
    reply->element = calloc(count + 1, sizeof *reply->element);
    for (size_t i = 0; i < count; i++)
        reply->element[i] = bytes(REDIS_REPLY_STRING, slice_of(&items[i]));
    return reply;
}

/* --- lists, and who waits for them ----------------------------------------------------------- */

/* Moves one element; the first client that waited for it gets it. */
static bool move(Slice from, bool from_right, Slice to, bool to_right, Bytes *out)
{
    Key *source = find(from);
    if (source == NULL)
        return false;
    size_t at = from_right ? source->count - 1 : 0;
    *out = source->items[at];
    take_out(source, at, 1);
    Key *target = need(to);
    insert(target, to_right ? target->count : 0, *out);
    return true;
}

static void serve_waiters(Slice name)
{
    for (size_t i = 0; i < server.waiter_count;) {
        Waiter waiter = server.waiters[i];
        Bytes value;
        Text from = text_of(waiter.from), to = text_of(waiter.to);
        if (!slice_equal(slice_of_text(from), name) ||
            !move(name, true, slice_of_text(to), false, &value)) {
            i++;
            continue;
        }
        memmove(&server.waiters[i], &server.waiters[i + 1],
                (--server.waiter_count - i) * sizeof(Waiter));
        waiter.wait(waiter.connection, bytes(REDIS_REPLY_STRING, slice_of(&value)));
    }
}

static int64_t push_end(Slice name, Slice value, bool right)
{
    Key *key = need(name);
    insert(key, right ? key->count : 0, bytes_of(value));
    return (int64_t)key->count;
}

static int64_t lrem(Slice name, Slice value)
{
    Key *key = find(name);
    size_t at = key == NULL ? SIZE_MAX : place(key, value, 1);
    if (at == SIZE_MAX)
        return 0;
    take_out(key, at, 1);
    return 1;
}

static bool hash_is(Slice name, Slice field, Slice value)
{
    const Key *key = find(name);
    size_t at = key == NULL ? SIZE_MAX : place(key, field, 2);
    return at != SIZE_MAX && slice_equal(slice_of(&key->items[at + 1]), value);
}

static void hash_set(Slice name, Slice field, Slice value)
{
    Key *key = need(name);
    size_t at = place(key, field, 2);
    if (at != SIZE_MAX) {
        key->items[at + 1] = bytes_of(value);
        return;
    }
    insert(key, key->count, bytes_of(field));
    insert(key, key->count, bytes_of(value));
}

static void hash_delete(Slice name, Slice field)
{
    Key *key = find(name);
    size_t at = key == NULL ? SIZE_MAX : place(key, field, 2);
    if (at != SIZE_MAX)
        take_out(key, at, 2);
}

static bool is(Slice a, const char *word)
{
    return slice_equal(a, slice_of_text(text_of(word)));
}

/* --- the scripts, line by line as in lua/ ------------------------------------------------------
 */

static int64_t run_push(const Slice *keys, const Slice *args, size_t argc)
{
    const Key *generation = find(keys[2]);
    int64_t pushed = 0;
    if (generation == NULL || !slice_equal(slice_of(&generation->items[0]), args[0]))
        return -1;
    for (size_t i = 2; i + 2 < argc; i += 3) {
        if (hash_is(keys[1], args[i], args[i + 1]))
            continue;
        hash_set(keys[1], args[i], args[i + 1]);
        push_end(keys[0], args[i + 2], is(args[1], "R"));
        pushed++;
    }
    return pushed;
}

static int64_t run_ack(const Slice *keys, const Slice *args)
{
    int64_t removed = lrem(keys[0], args[0]);
    if (hash_is(keys[1], args[1], args[2]))
        hash_delete(keys[1], args[1]);
    return removed;
}

static int64_t run_giveback(const Slice *keys, const Slice *args)
{
    if (lrem(keys[0], args[0]) == 0)
        return 0;
    push_end(keys[1], args[0], is(args[1], "R"));
    return 1;
}

static int64_t run_orphan(const Slice *keys, const Slice *args)
{
    Bytes moved;
    int64_t count = 0;
    if (find(keys[0]) != NULL)
        return -1;
    for (int64_t most = strtoll((const char *)args[1].at, NULL, 10); count < most; count++)
        if (!move(keys[1], false, keys[2], true, &moved)) {
            Key *workers = find(keys[3]);
            size_t at =
                workers == NULL || !is(args[2], "1") ? SIZE_MAX : place(workers, args[0], 1);
            if (at != SIZE_MAX)
                take_out(workers, at, 1);
            break;
        }
    return count;
}

static redisReply *run_take(const Slice *keys, const Slice *args)
{
    Bytes taken[64];
    size_t count = 0;
    for (long most = strtol((const char *)args[0].at, NULL, 10);
         (long)count < most && count < 64 && move(keys[0], true, keys[1], false, &taken[count]);)
        count++;
    return array(taken, count);
}

static redisReply *evalsha(const Slice *argv, size_t argc)
{
    size_t keys = (size_t)strtoull((const char *)argv[2].at, NULL, 10);
    const Slice *key = argv + 3, *arg = argv + 3 + keys;
    int64_t answer = 0;
    if (!server.scripts)
        return words(REDIS_REPLY_ERROR, "NOSCRIPT No matching script");
    if (slice_equal(argv[1], scripts_sha1(SCRIPT_TAKE)))
        return run_take(key, arg);
    if (slice_equal(argv[1], scripts_sha1(SCRIPT_PUSH)))
        answer = run_push(key, arg, argc - 3 - keys);
    else if (slice_equal(argv[1], scripts_sha1(SCRIPT_ACK)))
        answer = run_ack(key, arg);
    else if (slice_equal(argv[1], scripts_sha1(SCRIPT_GIVEBACK)))
        answer = run_giveback(key, arg);
    else
        answer = run_orphan(key, arg);
    for (size_t i = 0; i < keys; i++)
        serve_waiters(key[i]);
    return number(answer);
}

/* --- commands -------------------------------------------------------------------------------- */

static redisReply *script_load(Slice text)
{
    server.scripts = true;
    for (Script script = 0; script < SCRIPT_COUNT; script++)
        if (slice_equal(scripts_text(script), text))
            return bytes(REDIS_REPLY_STRING, scripts_sha1(script));
    abort();
}

static redisReply *blmove(const Slice *argv, void *connection, RedisServerWait *wait)
{
    Bytes value;
    if (move(argv[1], true, argv[2], false, &value))
        return bytes(REDIS_REPLY_STRING, slice_of(&value));
    if (server.waiter_count == WAITERS_MOST)
        abort();
    Waiter *waiter = &server.waiters[server.waiter_count++];
    double seconds = strtod((const char *)argv[5].at, NULL);
    *waiter = (Waiter){
        .connection = connection, .wait = wait, .until_ns = vm_now() + (int64_t)(seconds * 1e9)};
    memcpy(waiter->from, argv[1].at, argv[1].len);
    memcpy(waiter->to, argv[2].at, argv[2].len);
    return NULL;
}

static redisReply *hscan(Slice name)
{
    const Key *key = find(name);
    redisReply *reply = reply_new(REDIS_REPLY_ARRAY);
    reply->elements = 2;
    reply->element = calloc(2, sizeof *reply->element);
    reply->element[0] = words(REDIS_REPLY_STRING, "0");
    reply->element[1] = key == NULL ? array(NULL, 0) : array(key->items, key->count);
    return reply;
}

static redisReply *run_set(const Slice *argv, size_t argc)
{
    Key *key = need(argv[1]);
    key->count = 0;
    insert(key, 0, bytes_of(argv[2]));
    key->expires_ns = argc < 5 ? 0 : vm_now() + strtoll((const char *)argv[4].at, NULL, 10) * VM_MS;
    return words(REDIS_REPLY_STATUS, "OK");
}

static redisReply *run_del(const Slice *names, size_t count)
{
    int64_t deleted = 0;
    for (size_t i = 0; i < count; i++) {
        Key *key = find(names[i]);
        deleted += key != NULL;
        if (key != NULL)
            drop(key);
    }
    return number(deleted);
}

static redisReply *run_sadd(Slice name, Slice member)
{
    Key *key = need(name);
    bool known = place(key, member, 1) != SIZE_MAX;
    if (!known)
        insert(key, key->count, bytes_of(member));
    return number(!known);
}

redisReply *redis_server_run(const Slice *argv, size_t argc, void *connection,
                             RedisServerWait *wait)
{
    const Slice name = argc > 1 ? argv[1] : (Slice){0};
    const Key *key = argc > 1 ? find(name) : NULL;
    if (is(argv[0], "EVALSHA"))
        return evalsha(argv, argc);
    if (is(argv[0], "BLMOVE"))
        return blmove(argv, connection, wait);
    if (is(argv[0], "SCRIPT"))
        return script_load(argv[2]);
    if (is(argv[0], "INFO"))
        return words(REDIS_REPLY_STRING, "redis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\n");
    if (is(argv[0], "GET"))
        return key == NULL ? reply_new(REDIS_REPLY_NIL)
                           : bytes(REDIS_REPLY_STRING, slice_of(&key->items[0]));
    if (is(argv[0], "SET"))
        return run_set(argv, argc);
    if (is(argv[0], "DEL"))
        return run_del(argv + 1, argc - 1);
    if (is(argv[0], "SADD"))
        return run_sadd(name, argv[2]);
    if (is(argv[0], "SMEMBERS") || is(argv[0], "LRANGE"))
        return key == NULL ? array(NULL, 0) : array(key->items, key->count);
    if (is(argv[0], "LREM"))
        return number(lrem(name, argv[3]));
    if (is(argv[0], "HSCAN"))
        return hscan(name);
    if (is(argv[0], "LLEN"))
        return number(key == NULL ? 0 : (int64_t)key->count);
    abort(); /* a command that the model does not know */
}

void redis_server_leave(const void *connection)
{
    for (size_t i = 0; i < server.waiter_count; i++)
        if (server.waiters[i].connection == connection) {
            memmove(&server.waiters[i], &server.waiters[i + 1],
                    (--server.waiter_count - i) * sizeof(Waiter));
            return;
        }
}

/* --- time and faults ------------------------------------------------------------------------- */

/* Ten times a second: those whose time in BLMOVE is over get nil. */
static void expire(void *ctx)
{
    for (size_t i = 0; i < server.waiter_count;) {
        Waiter waiter = server.waiters[i];
        if (waiter.until_ns > vm_now()) {
            i++;
            continue;
        }
        memmove(&server.waiters[i], &server.waiters[i + 1],
                (--server.waiter_count - i) * sizeof(Waiter));
        waiter.wait(waiter.connection, reply_new(REDIS_REPLY_NIL));
    }
    vm_at(vm_now() + 100 * VM_MS, expire, ctx);
}

void redis_server_begin(void)
{
    clear(&server.now);
    clear(&server.kept);
    server.has_kept = server.scripts = false;
    server.up = true;
    server.incarnation = 1;
    server.calm_since = 0;
    server.waiter_count = 0;
    vm_at(100 * VM_MS, expire, NULL);
}

void redis_server_flush(void)
{
    clear(&server.now);
    server.calm_since = vm_now();
}

void redis_server_down(void)
{
    server.up = false;
    server.incarnation++;
    server.waiter_count = 0;
    server.scripts = false;
}

void redis_server_up(void)
{
    server.up = true;
    server.calm_since = vm_now();
}

void redis_server_empty(void)
{
    clear(&server.now);
}

void redis_server_remember(void)
{
    copy(&server.kept, &server.now);
    server.has_kept = true;
}

void redis_server_restore(void)
{
    if (server.has_kept)
        copy(&server.now, &server.kept);
    else
        clear(&server.now);
}

bool redis_server_is_up(void)
{
    return server.up;
}

uint64_t redis_server_incarnation(void)
{
    return server.incarnation;
}

int64_t redis_server_calm_since(void)
{
    return server.calm_since;
}

void redis_server_lists(RedisServerVisit *visit, void *ctx)
{
    for (size_t i = 0; i < server.now.count; i++) {
        const Key *key = &server.now.keys[i];
        bool list = strstr(key->name, ":ready") != NULL || strstr(key->name, ":claimed:") != NULL;
        for (size_t k = 0; list && k < key->count; k++)
            visit(ctx, key->name, slice_of(&key->items[k]));
    }
}

bool redis_server_member(const char *set, const char *member)
{
    const Key *key = find(slice_of_text(text_of(set)));
    return key != NULL && place(key, slice_of_text(text_of(member)), 1) != SIZE_MAX;
}

void redis_server_fields(RedisServerVisit *visit, void *ctx)
{
    for (size_t i = 0; i < server.now.count; i++) {
        const Key *key = &server.now.keys[i];
        for (size_t k = 0; strstr(key->name, ":inq") != NULL && k < key->count; k += 2)
            visit(ctx, key->name, slice_of(&key->items[k]));
    }
}
