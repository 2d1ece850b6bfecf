/* SPDX-License-Identifier: Apache-2.0
 * Whatever is read as a ticket is written back as the same bytes. */
#include "protocol/ticket.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Err err = {0};
    Ticket ticket;
    TicketBytes again;
    if (!ticket_unpack((Slice){bytes, size}, &ticket, &err))
        return 0;
    ticket_pack(&ticket, &again);
    if (!slice_equal((Slice){bytes, size}, (Slice){again.at, again.len}))
        abort();
    return 0;
}
