/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/messages.h"

#include "protocol/wire.h"

static const WireLimits FRAME_LIMITS = {MESSAGE_FRAME_MOST, 2, 256};

static void pack_u64(msgpack_packer *to, uint64_t value)
{
    msgpack_pack_uint64(to, value);
}

static void pack_flag(msgpack_packer *to, bool value)
{
    if (value)
        msgpack_pack_true(to);
    else
        msgpack_pack_false(to);
}

static void pack_text(msgpack_packer *to, Text value)
{
    msgpack_pack_str_with_body(to, value.at, value.len);
}

static void pack_bytes(msgpack_packer *to, Slice value)
{
    msgpack_pack_bin_with_body(to, value.at, value.len);
}

#define TAKE_u64   wire_take_u64
#define TAKE_i64   wire_take_i64
#define TAKE_flag  wire_take_bool
#define TAKE_text  wire_take_text
#define TAKE_bytes wire_take_bytes

/* The value of a small-integer key; NULL when the map has none. A key that stands twice is refused
 * by check_map. */
static const msgpack_object *value_of(const msgpack_object *map, uint64_t tag)
{
    for (uint32_t i = 0; i < map->via.map.size; i++)
        if (map->via.map.ptr[i].key.via.u64 == tag)
            return &map->via.map.ptr[i].val;
    return NULL;
}

static bool check_map(const msgpack_object *map, Err *err)
{
    if (!wire_take_map(map, "the message", err))
        return false;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
            return err_set(err, ERR_CORRUPT, "wire.type", "a key of a message is not a number");
        for (uint32_t j = 0; j < i; j++)
            if (map->via.map.ptr[j].key.via.u64 == key->via.u64)
                return err_set(err, ERR_CORRUPT, "wire.twice", "a key of a message stands twice");
    }
    return true;
}

static bool open_frame(Slice frame, uint64_t expected, msgpack_unpacked *unpacked, Err *err)
{
    uint64_t id = 0;
    if (!wire_unpack(frame, &FRAME_LIMITS, unpacked, err) || !check_map(&unpacked->data, err))
        return false;
    const msgpack_object *value = value_of(&unpacked->data, 0);
    if (value == NULL || !wire_take_u64(value, "the message's id", &id, err))
        return err_set(err, ERR_CORRUPT, "wire.id", "a message has no id");
    if (expected != 0 && id != expected)
        return err_set(err, ERR_CORRUPT, "wire.id", "message %llu came where %llu was due",
                       (unsigned long long)id, (unsigned long long)expected);
    return true;
}

bool messages_id(Slice frame, uint64_t *id, Err *err)
{
    msgpack_unpacked unpacked;
    bool done = open_frame(frame, 0, &unpacked, err);
    if (done)
        *id = value_of(&unpacked.data, 0)->via.u64;
    msgpack_unpacked_destroy(&unpacked);
    return done;
}

#define MESSAGE_BEGIN(Type, name, id, doc) enum { name##_field_count = 0
#define FIELD(tag, type, name, doc)        +1
#define MESSAGE_END(Type, name)                                                                    \
    }                                                                                              \
    ;
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    void messages_pack_##name(const Type *message, msgpack_sbuffer *out)                           \
    {                                                                                              \
        msgpack_packer to;                                                                         \
        msgpack_packer_init(&to, out, msgpack_sbuffer_write);                                      \
        msgpack_pack_map(&to, name##_field_count + 1);                                             \
        pack_u64(&to, 0);                                                                          \
        pack_u64(&to, id);
#define FIELD(tag, type, name, doc)                                                                \
    pack_u64(&to, tag);                                                                            \
    pack_##type(&to, message->name);
#define MESSAGE_END(Type, name) }
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

/* Texts stay valid after the zone is gone: they point into the frame. */
#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    bool messages_unpack_##name(Slice frame, Type *message, Err *err)                              \
    {                                                                                              \
        msgpack_unpacked unpacked;                                                                 \
        const msgpack_object *value;                                                               \
        *message = (Type){0};                                                                      \
        bool done = open_frame(frame, id, &unpacked, err);
#define FIELD(tag, type, name, doc)                                                                \
    value = done ? value_of(&unpacked.data, tag) : NULL;                                           \
    done = done && (value == NULL || TAKE_##type(value, #name, &message->name, err));
#define MESSAGE_END(Type, name)                                                                    \
    msgpack_unpacked_destroy(&unpacked);                                                           \
    return done;                                                                                   \
    }
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END
