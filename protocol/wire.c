/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

enum { DEPTH_MOST = 32 };

const WireLimits WIRE_SMALL = {1u << 20, 8, 65536};

/* What one leading byte says: how many bytes of content follow it, how many values. The formats are
 * those of the msgpack specification. */
typedef struct Head {
    size_t length_bytes; /* of a big-endian length that follows */
    size_t fixed;        /* content bytes known from the head alone */
    size_t values;       /* nested values known from the head alone */
    bool counts_values;  /* the length counts nested values, `per` each */
    size_t per;
    bool valid;
} Head;

static Head head_of(uint8_t byte)
{
    if (byte <= 0x7f || byte >= 0xe0)
        return (Head){.valid = true};
    if (byte <= 0x8f)
        return (Head){.values = 2 * (size_t)(byte & 15), .counts_values = true, .valid = true};
    if (byte <= 0x9f)
        return (Head){.values = byte & 15, .counts_values = true, .valid = true};
    if (byte <= 0xbf)
        return (Head){.fixed = byte & 31, .valid = true};
    static const Head heads[32] = {
        [0x00] = {.valid = true},                    /* nil */
        [0x02] = {.valid = true},                    /* false */
        [0x03] = {.valid = true},                    /* true */
        [0x04] = {.length_bytes = 1, .valid = true}, /* bin */
        [0x05] = {.length_bytes = 2, .valid = true},
        [0x06] = {.length_bytes = 4, .valid = true},
        [0x0a] = {.fixed = 4, .valid = true}, /* float */
        [0x0b] = {.fixed = 8, .valid = true},
        [0x0c] = {.fixed = 1, .valid = true}, /* uint */
        [0x0d] = {.fixed = 2, .valid = true},
        [0x0e] = {.fixed = 4, .valid = true},
        [0x0f] = {.fixed = 8, .valid = true},
        [0x10] = {.fixed = 1, .valid = true}, /* int */
        [0x11] = {.fixed = 2, .valid = true},
        [0x12] = {.fixed = 4, .valid = true},
        [0x13] = {.fixed = 8, .valid = true},
        [0x19] = {.length_bytes = 1, .valid = true}, /* str */
        [0x1a] = {.length_bytes = 2, .valid = true},
        [0x1b] = {.length_bytes = 4, .valid = true},
        [0x1c] = {.length_bytes = 2, .counts_values = true, .per = 1, .valid = true}, /* array */
        [0x1d] = {.length_bytes = 4, .counts_values = true, .per = 1, .valid = true},
        [0x1e] = {.length_bytes = 2, .counts_values = true, .per = 2, .valid = true}, /* map */
        [0x1f] = {.length_bytes = 4, .counts_values = true, .per = 2, .valid = true},
    };
    return heads[byte - 0xc0]; /* extension types are not used, so they are not valid */
}

static bool malformed(Err *err, const char *why)
{
    return err_set(err, ERR_CORRUPT, "wire.malformed", "not a message of ours: %s", why);
}

/* Reads one head at *at; *content is the bytes it owns, *values the values nested in it. */
static bool scan_head(Slice bytes, size_t *at, size_t *content, size_t *values, bool *nests,
                      Err *err)
{
    Head head = head_of(bytes.at[(*at)++]);
    size_t length = 0;
    if (!head.valid)
        return malformed(err, "a type that is not used");
    if (bytes.len - *at < head.length_bytes)
        return malformed(err, "it is cut short");
    for (size_t i = 0; i < head.length_bytes; i++)
        length = length << 8 | bytes.at[(*at)++];
    *content = head.fixed + (head.counts_values ? 0 : length);
    *values = head.values + (head.counts_values ? length * head.per : 0);
    *nests = head.counts_values;
    return true;
}

bool wire_scan(Slice bytes, const WireLimits *limits, Err *err)
{
    size_t open[DEPTH_MOST + 1] = {1};
    size_t depth = 0;
    size_t elements = 0;
    size_t at = 0;
    if (bytes.len > limits->bytes)
        return malformed(err, "it is too long");
    while (depth != 0 || open[0] != 0) {
        size_t content = 0;
        size_t values = 0;
        bool nests = false;
        if (at == bytes.len)
            return malformed(err, "it is cut short");
        if (++elements > limits->elements)
            return malformed(err, "it has too many elements");
        if (!scan_head(bytes, &at, &content, &values, &nests, err))
            return false;
        if (content > bytes.len - at || values > bytes.len - at)
            return malformed(err, "it announces more than it holds");
        at += content;
        open[depth]--;
        if (nests && values != 0) {
            if (depth + 1 > limits->depth || depth + 1 > DEPTH_MOST)
                return malformed(err, "it is nested too deeply");
            open[++depth] = values;
        }
        while (depth != 0 && open[depth] == 0)
            depth--;
    }
    return at == bytes.len || malformed(err, "something follows it");
}

bool wire_unpack(Slice bytes, const WireLimits *limits, msgpack_unpacked *out, Err *err)
{
    size_t offset = 0;
    msgpack_unpacked_init(out);
    if (!wire_scan(bytes, limits, err))
        return false;
    msgpack_unpack_return result =
        msgpack_unpack_next(out, (const char *)bytes.at, bytes.len, &offset);
    if (result != MSGPACK_UNPACK_SUCCESS || offset != bytes.len)
        return malformed(err, "msgpack does not read it");
    return true;
}

static bool wrong_type(Err *err, const char *what, const char *wanted)
{
    return err_set(err, ERR_CORRUPT, "wire.type", "%s is not %s", what, wanted);
}

bool wire_take_u64(const msgpack_object *object, const char *what, uint64_t *out, Err *err)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return wrong_type(err, what, "a whole number that is not negative");
    *out = object->via.u64;
    return true;
}

bool wire_take_i64(const msgpack_object *object, const char *what, int64_t *out, Err *err)
{
    bool positive = object->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    if (!positive && object->type != MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return wrong_type(err, what, "a whole number");
    if (positive && object->via.u64 > INT64_MAX)
        return wrong_type(err, what, "in range");
    *out = object->via.i64;
    return true;
}

bool wire_take_bool(const msgpack_object *object, const char *what, bool *out, Err *err)
{
    if (object->type != MSGPACK_OBJECT_BOOLEAN)
        return wrong_type(err, what, "true or false");
    *out = object->via.boolean;
    return true;
}

bool wire_take_text(const msgpack_object *object, const char *what, Text *out, Err *err)
{
    if (object->type != MSGPACK_OBJECT_STR)
        return wrong_type(err, what, "text");
    *out = (Text){object->via.str.ptr, object->via.str.size};
    return true;
}

bool wire_take_bytes(const msgpack_object *object, const char *what, Slice *out, Err *err)
{
    if (object->type != MSGPACK_OBJECT_BIN)
        return wrong_type(err, what, "bytes");
    *out = (Slice){(const uint8_t *)object->via.bin.ptr, object->via.bin.size};
    return true;
}

bool wire_take_map(const msgpack_object *object, const char *what, Err *err)
{
    return object->type == MSGPACK_OBJECT_MAP || wrong_type(err, what, "a map");
}
