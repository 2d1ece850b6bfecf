/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_reply.h"

#include "common/base/mem.h"

#include <stdlib.h>

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
