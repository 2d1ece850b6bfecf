/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/channel.h"

#include <errno.h>
#include <unistd.h>

enum { LENGTH_BYTES = 4, READ_BYTES = 64 << 10 };

void channel_output_init(ChannelOutput *output, int fd)
{
    output->fd = fd;
    pthread_mutex_init(&output->lock, NULL);
}

void channel_output_free(ChannelOutput *output)
{
    pthread_mutex_destroy(&output->lock);
}

static bool write_all(int fd, const uint8_t *at, size_t len, Err *err)
{
    while (len > 0) {
        ssize_t done = write(fd, at, len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EPIPE)
            return err_set(err, ERR_UNREACHABLE, "channel.closed", "the other process is gone");
        if (done < 0)
            return err_set_sys(err, err_code_of_errno(errno), "channel.write",
                               "writing to the other process");
        at += done;
        len -= (size_t)done;
    }
    return true;
}

bool channel_send(ChannelOutput *output, const msgpack_sbuffer *message, Err *err)
{
    if (message->size > MESSAGE_FRAME_MOST)
        return err_set(err, ERR_BUG, "channel.frame", "a message of %zu bytes", message->size);
    scoped(buf_free) Buf frame = {0};
    buf_reserve(&frame, LENGTH_BYTES + message->size);
    buf_add_le32(&frame, (uint32_t)message->size);
    buf_add(&frame, message->data, message->size);
    pthread_mutex_lock(&output->lock);
    bool ok = write_all(output->fd, frame.at, frame.len, err);
    pthread_mutex_unlock(&output->lock);
    return ok;
}

#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    bool channel_send_##name(ChannelOutput *output, const Type *message, Err *err)                 \
    {                                                                                              \
        msgpack_sbuffer buffer;                                                                    \
        msgpack_sbuffer_init(&buffer);                                                             \
        messages_pack_##name(message, &buffer);                                                    \
        bool ok = channel_send(output, &buffer, err);                                              \
        msgpack_sbuffer_destroy(&buffer);                                                          \
        return ok;                                                                                 \
    }
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

void channel_input_free(ChannelInput *input)
{
    buf_free(&input->bytes);
    input->taken = 0;
}

void channel_input_wipe(ChannelInput *input)
{
    if (input->taken > 0)
        explicit_bzero(input->bytes.at, input->taken);
}

/* Forgets what was taken, so that the buffer holds one frame and a read at most. */
static void compact(ChannelInput *input)
{
    if (input->taken == 0)
        return;
    memmove(input->bytes.at, input->bytes.at + input->taken, input->bytes.len - input->taken);
    input->bytes.len -= input->taken;
    input->taken = 0;
}

bool channel_fill(ChannelInput *input, int fd, bool *end, Err *err)
{
    *end = false;
    compact(input);
    buf_reserve(&input->bytes, READ_BYTES);
    ssize_t got = read(fd, input->bytes.at + input->bytes.len, READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got < 0)
        return err_set_sys(err, err_code_of_errno(errno), "channel.read",
                           "reading from the other process");
    *end = got == 0;
    input->bytes.len += (size_t)got;
    return true;
}

bool channel_next(ChannelInput *input, Slice *frame, bool *found, Err *err)
{
    size_t left = input->bytes.len - input->taken;
    const uint8_t *at = input->bytes.at + input->taken;
    *found = false;
    if (left < LENGTH_BYTES)
        return true;
    size_t length = (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    if (length > MESSAGE_FRAME_MOST)
        return err_set(err, ERR_CORRUPT, "channel.frame",
                       "a frame of %zu bytes from the other process", length);
    if (left < LENGTH_BYTES + length)
        return true;
    *frame = (Slice){at + LENGTH_BYTES, length};
    input->taken += LENGTH_BYTES + length;
    *found = true;
    return true;
}

bool channel_receive(ChannelInput *input, int fd, Slice *frame, bool *end, Err *err)
{
    bool found = false;
    *end = false;
    while (channel_next(input, frame, &found, err)) {
        if (found || *end)
            return true;
        if (!channel_fill(input, fd, end, err))
            return false;
    }
    return false;
}
