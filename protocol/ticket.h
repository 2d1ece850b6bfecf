/* SPDX-License-Identifier: Apache-2.0
 * ticket.h — the Redis element that says "this job may be runnable", and nothing else.
 * A msgpack map with exactly the string keys v, job, dispatch, kind, in this order, integers in
 * their shortest form: acknowledgements compare bytes, so a ticket has one spelling. */
#ifndef PROTOCOL_TICKET_H
#define PROTOCOL_TICKET_H

#include "protocol/err.h"

enum { TICKET_MOST = 96, TICKET_VERSION = 1, TICKET_KIND_MOST = 15 };

typedef struct Ticket {
    uint64_t job;
    uint64_t dispatch;               /* voids older tickets of the same job */
    char kind[TICKET_KIND_MOST + 1]; /* backup, restore, … */
} Ticket;

typedef struct TicketBytes {
    uint8_t at[TICKET_MOST];
    size_t len;
} TicketBytes;

void ticket_pack(const Ticket *ticket, TicketBytes *out);

/* Refuses everything that ticket_pack would not have written: cause ticket.malformed. */
MUST_CHECK bool ticket_unpack(Slice bytes, Ticket *out, Err *err);

#endif
