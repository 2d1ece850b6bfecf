/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ticket.h"

#include "protocol/wire.h"

static const WireLimits TICKET_LIMITS = {TICKET_MOST, 1, 16};

void ticket_pack(const Ticket *ticket, TicketBytes *out)
{
    msgpack_sbuffer buffer;
    msgpack_packer to;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&to, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&to, 4);
    msgpack_pack_str_with_body(&to, "v", 1);
    msgpack_pack_uint64(&to, TICKET_VERSION);
    msgpack_pack_str_with_body(&to, "job", 3);
    msgpack_pack_uint64(&to, ticket->job);
    msgpack_pack_str_with_body(&to, "dispatch", 8);
    msgpack_pack_uint64(&to, ticket->dispatch);
    msgpack_pack_str_with_body(&to, "kind", 4);
    msgpack_pack_str_with_body(&to, ticket->kind, strlen(ticket->kind));
    out->len = buffer.size; /* 4 keys, two u64 and 15 letters at most: 1+2+1+4+9+9+9+5+16 = 56 */
    memcpy(out->at, buffer.data, buffer.size);
    msgpack_sbuffer_destroy(&buffer);
}

static bool read_fields(const msgpack_object *map, Ticket *out, Err *err)
{
    static const char *const keys[] = {"v", "job", "dispatch", "kind"};
    uint64_t version = 0;
    Text kind = {0};
    if (!wire_take_map(map, "the ticket", err) || map->via.map.size != 4)
        return false;
    const msgpack_object_kv *at = map->via.map.ptr;
    for (size_t i = 0; i < 4; i++) {
        Text key;
        if (!wire_take_text(&at[i].key, "a key", &key, err) || !text_equal(key, text_of(keys[i])))
            return false;
    }
    if (!wire_take_u64(&at[0].val, "v", &version, err) || version != TICKET_VERSION ||
        !wire_take_u64(&at[1].val, "job", &out->job, err) ||
        !wire_take_u64(&at[2].val, "dispatch", &out->dispatch, err) ||
        !wire_take_text(&at[3].val, "kind", &kind, err) || kind.len > TICKET_KIND_MOST)
        return false;
    memcpy(out->kind, kind.at, kind.len);
    return true;
}

bool ticket_unpack(Slice bytes, Ticket *out, Err *err)
{
    msgpack_unpacked unpacked;
    TicketBytes again;
    *out = (Ticket){0};
    bool done =
        wire_unpack(bytes, &TICKET_LIMITS, &unpacked, err) && read_fields(&unpacked.data, out, err);
    msgpack_unpacked_destroy(&unpacked);
    if (done) {
        ticket_pack(out, &again);
        done = slice_equal(bytes, (Slice){again.at, again.len});
    }
    return done || err_set(err, ERR_CORRUPT, "ticket.malformed",
                           "%zu bytes of the list are not a ticket of ours", bytes.len);
}
