/* SPDX-License-Identifier: Apache-2.0
 * channel.h — frames between a worker's parent process and its job child.
 * A frame is a little-endian u32 length and that many bytes of msgpack (protocol/messages.h). The
 * child reads orders on CHANNEL_ORDER_FD and reports on CHANNEL_REPORT_FD; the end of the order
 * pipe means that the parent is gone. Both sides ignore SIGPIPE. */
#ifndef WORKER_JOB_CHANNEL_H
#define WORKER_JOB_CHANNEL_H

#include "common/base/buf.h"
#include "protocol/messages.h"

#include <pthread.h>

enum { CHANNEL_ORDER_FD = 3, CHANNEL_REPORT_FD = 4 };

/* The writing end; threads may share it, a frame is never torn by another. */
typedef struct ChannelOutput {
    int fd; /* borrowed */
    pthread_mutex_t lock;
} ChannelOutput;

void channel_output_init(ChannelOutput *output, int fd);
void channel_output_free(ChannelOutput *output);

/* Blocks until the whole frame is written. ERR_UNREACHABLE channel.closed: nobody reads. */
MUST_CHECK bool channel_send(ChannelOutput *output, const msgpack_sbuffer *message, Err *err);

/* channel_send_<name>: packs and sends one message of messages.def. */
#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    MUST_CHECK bool channel_send_##name(ChannelOutput *output, const Type *message, Err *err);
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

/* The reading end: bytes that came and were not taken yet. Zeroed is empty. */
typedef struct ChannelInput {
    Buf bytes;
    size_t taken;
} ChannelInput;

void channel_input_free(ChannelInput *input);
/* What was taken is not only passed over, but gone: frames may carry secrets. */
void channel_input_wipe(ChannelInput *input);

/* One read(2), which blocks or not as the descriptor does. *end: the other side closed. */
MUST_CHECK bool channel_fill(ChannelInput *input, int fd, bool *end, Err *err);

/* The next whole frame, borrowed until the next call with this input. *found false: fill more. A
 * frame over MESSAGE_FRAME_MOST is ERR_CORRUPT channel.frame. */
MUST_CHECK bool channel_next(ChannelInput *input, Slice *frame, bool *found, Err *err);

/* Blocks for one whole frame; *end instead of a frame when the other side closed. */
MUST_CHECK bool channel_receive(ChannelInput *input, int fd, Slice *frame, bool *end, Err *err);

#endif
