/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_reply.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <stdlib.h>

enum { ELEMENTS_MOST = 1 << 20, ANSWER_MOST = 64 << 20 };

static redisReplyObjectFunctions usual, bounded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *make_array(const redisReadTask *task, int elements)
{
    return elements > ELEMENTS_MOST ? NULL : usual.createArray(task, elements);
}

/* hiredis shows its own functions only in a reader. */
static void take_usual(void)
{
    redisReader *reader = redisReaderCreate();
    if (reader == NULL)
        abort();
    usual = bounded = *reader->fn;
    bounded.createArray = make_array;
    redisReaderFree(reader);
}

redisReader *redis_reply_reader(void)
{
    pthread_once(&once, take_usual);
    return redisReaderCreateWithFunctions(&bounded);
}

bool redis_reply_too_long(const redisReader *reader)
{
    return reader->len - reader->pos > ANSWER_MOST;
}

const char *redis_reply_trouble(const redisReader *reader)
{
    if (redis_reply_too_long(reader))
        return "an answer longer than 64 MiB";
    /* What make_array refuses reads as a want of memory. */
    return reader->err == REDIS_ERR_OOM ? "more elements than any answer has, or no memory for them"
                                        : reader->errstr;
}

bool redis_reply_err(const redisReply *reply, Err *err)
{
    static const struct {
        const char *word;
        ErrCode code;
        const char *cause;
        const char *next;
    } rows[] = {
        {"NOSCRIPT", ERR_MISSING, "queue.noscript", "the scheduler loads the scripts"},
        {"READONLY", ERR_UNREACHABLE, "queue.readonly", "waiting for the new primary"},
        {"LOADING", ERR_UNREACHABLE, "queue.loading", "waiting until it has loaded its data"},
        {"MASTERDOWN", ERR_UNREACHABLE, "queue.masterdown", "waiting for the new primary"},
        {"UNBLOCKED", ERR_UNREACHABLE, "queue.readonly", "waiting for the new primary"},
        {"CLUSTERDOWN", ERR_UNREACHABLE, "queue.clusterdown", "waiting for the cluster"},
        {"MOVED", ERR_UNREACHABLE, "queue.moved",
         "that node is asked; the address of a cluster begins with redis+cluster://"},
        {"ASK", ERR_UNREACHABLE, "queue.moving", "waiting until the slot has moved"},
        {"TRYAGAIN", ERR_UNREACHABLE, "queue.tryagain", "waiting for the slot"},
        {"NOREPLICAS", ERR_UNREACHABLE, "queue.noreplicas", "waiting for replicas"},
        {"BUSY", ERR_UNREACHABLE, "queue.busy", "waiting for a running script"},
        {"MISCONF", ERR_UNREACHABLE, "queue.misconf", "Redis cannot save: see to its disk"},
        {"OOM", ERR_FULL, "queue.full", "raise maxmemory of Redis"},
        {"NOAUTH", ERR_DENIED, "queue.denied", "set redis_password"},
        {"WRONGPASS", ERR_DENIED, "queue.denied", "check redis_password and the user"},
        {"NOPERM", ERR_DENIED, "queue.denied", "check the ACL of this user"},
        {"WRONGTYPE", ERR_CORRUPT, "queue.wrongtype", "another program uses our key names"},
    };
    const char *text = reply->str == NULL ? "" : reply->str;
    size_t word = strcspn(text, " ");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strlen(rows[i].word) == word && memcmp(rows[i].word, text, word) == 0)
            return err_set(err, rows[i].code, rows[i].cause, "Redis answers %.200s; %s", text,
                           rows[i].next);
    /* Redis 5 answers a wrong password without a word of its own. */
    if (strstr(text, "invalid password") != NULL)
        return err_set(err, ERR_DENIED, "queue.denied",
                       "Redis answers %.200s; check redis_password", text);
    return err_set(err, ERR_INVALID, "queue.refused",
                   "Redis refuses a command: %.200s; it must be Redis 6.2 or newer", text);
}

bool redis_reply_moved(const redisReply *reply, RedisHost *out)
{
    static const char WORD[] = "MOVED ";
    if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, WORD, sizeof WORD - 1) != 0)
        return false;
    const char *host = strchr(reply->str + sizeof WORD - 1, ' ');
    const char *colon = strrchr(reply->str, ':');
    if (host == NULL || colon == NULL || colon < host)
        return false;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    host++;
    if (port == 0 || port > 65535)
        return false;
    mem_free(out->host);
    *out = (RedisHost){.port = (uint16_t)port};
    if (colon > host)
        out->host = mem_text((Text){host, (size_t)(colon - host)});
    return true;
}

Slice redis_reply_bytes(const redisReply *reply)
{
    bool text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
    return text ? (Slice){(const uint8_t *)reply->str, reply->len} : (Slice){0};
}

static bool digits(const redisReply *reply, size_t most)
{
    if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || (size_t)reply->len > most)
        return false;
    for (size_t i = 0; i < (size_t)reply->len; i++)
        if (reply->str[i] < '0' || reply->str[i] > '9')
            return false;
    return true;
}

bool redis_reply_number(const redisReply *reply, uint64_t *out)
{
    if (!digits(reply, 20))
        return false;
    *out = 0;
    for (size_t i = 0; i < (size_t)reply->len; i++)
        if (__builtin_mul_overflow(*out, 10U, out) ||
            __builtin_add_overflow(*out, (unsigned)(reply->str[i] - '0'), out))
            return false;
    return true;
}

bool redis_reply_host(const redisReply *reply, RedisHost *out)
{
    uint64_t port;
    bool named = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                 reply->element[0]->type == REDIS_REPLY_STRING && reply->element[0]->len > 0 &&
                 redis_reply_number(reply->element[1], &port) && port > 0 && port <= 65535;
    if (!named)
        return false;
    mem_free(out->host);
    *out = (RedisHost){.host = mem_string(reply->element[0]->str), .port = (uint16_t)port};
    return true;
}

bool redis_reply_page(const redisReply *reply, char cursor[REDIS_REPLY_CURSOR],
                      const redisReply **pairs)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !digits(reply->element[0], REDIS_REPLY_CURSOR - 1) ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return false;
    memcpy(cursor, reply->element[0]->str, (size_t)reply->element[0]->len + 1);
    *pairs = reply->element[1];
    return true;
}

Text redis_reply_field(Text info, const char *name)
{
    size_t len = strlen(name);
    const char *end = info.at + info.len;
    for (const char *line = info.at; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        size_t room = (size_t)(stop - line);
        if (room > len && memcmp(line, name, len) == 0 && line[len] == ':') {
            Text value = {line + len + 1, room - len - 1};
            while (value.len > 0 && value.at[value.len - 1] == '\r')
                value.len--;
            return value;
        }
        line = stop < end ? stop + 1 : end;
    }
    return (Text){0};
}
