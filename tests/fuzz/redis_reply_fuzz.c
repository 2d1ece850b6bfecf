/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as what Redis answers, cut in two at the first byte's value: everything that is made of
 * an answer is made of it. What is a number, a host, a page or a ticket says again what it was. */
#include "common/base/mem.h"
#include "common/queue/redis_reply.h"
#include "protocol/ids.h"
#include "protocol/ticket.h"
#include "tests/fuzz/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void must(bool good)
{
    if (!good)
        abort();
}

static void look_number(const redisReply *reply)
{
    uint64_t number;
    char text[24];
    if (!redis_reply_number(reply, &number))
        return;
    const char *from = reply->str;
    while (from[0] == '0' && from[1] != '\0')
        from++;
    snprintf(text, sizeof text, "%" PRIu64, number);
    must(strcmp(text, from) == 0);
}

static void look_string(const redisReply *reply)
{
    Err err = {0};
    Uuid id;
    Ticket ticket;
    Slice bytes = redis_reply_bytes(reply);
    Text field = redis_reply_field(text_of_slice(bytes), "redis_version");
    must(field.len == 0 || memchr(field.at, '\n', field.len) == NULL);
    (void)!uuid_parse(text_of_slice(bytes), &id, &err);
    (void)!ticket_unpack(bytes, &ticket, &err);
    look_number(reply);
}

static void look(const redisReply *reply)
{
    RedisHost host = {0};
    Err err = {0};
    char cursor[REDIS_REPLY_CURSOR];
    const redisReply *pairs;
    if (redis_reply_host(reply, &host) || redis_reply_moved(reply, &host))
        must(host.port != 0);
    mem_free(host.host);
    if (redis_reply_page(reply, cursor, &pairs))
        must(strspn(cursor, "0123456789") == strlen(cursor) && pairs->type == REDIS_REPLY_ARRAY);
    if (reply->type == REDIS_REPLY_ERROR)
        must(!redis_reply_err(reply, &err) && err.code != ERR_NONE && err.cause[0] != '\0');
    if (reply->type == REDIS_REPLY_STRING)
        look_string(reply);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        look(reply->element[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    redisReader *reader = redis_reply_reader();
    size_t head = size == 0 ? 0 : bytes[0] % size;
    must(reader != NULL);
    const struct {
        size_t at, len;
    } parts[] = {{size != 0, head}, {head + (size != 0), size == 0 ? 0 : size - 1 - head}};
    bool sound = true;
    for (size_t part = 0; part < 2 && sound; part++) {
        redisReaderFeed(reader, (const char *)bytes + parts[part].at, parts[part].len);
        for (;;) {
            void *reply = NULL;
            sound = redisReaderGetReply(reader, &reply) == REDIS_OK;
            if (!sound || reply == NULL)
                break;
            look(reply);
            freeReplyObject(reply);
        }
    }
    must(sound || redis_reply_trouble(reader)[0] != '\0');
    redisReaderFree(reader);
    return 0;
}
