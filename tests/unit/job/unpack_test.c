/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/unpack.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { CONTENT = 900000 };

static void gzip(const Buf *content, Buf *out)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, content->len) + 64;
    buf_reserve(out, room);
    z.next_in = content->at;
    z.avail_in = (uInt)content->len;
    z.next_out = out->at + out->len;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += room - z.avail_out;
    deflateEnd(&z);
}

static void zstd(const Buf *content, Buf *out)
{
    size_t room = ZSTD_compressBound(content->len);
    buf_reserve(out, room);
    ZSTD_CCtx *coder = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(coder, ZSTD_c_checksumFlag, 1); /* as the command zstd does */
    size_t len = ZSTD_compress2(coder, out->at + out->len, room, content->at, content->len);
    ZSTD_freeCCtx(coder);
    assert_false(ZSTD_isError(len));
    out->len += len;
}

/* What it gives by so many bytes a time; false with the cause when it fails. */
static bool unpacked(const Buf *file, size_t room, const char *format, Buf *out, Err *err)
{
    Unpack *unpack = NULL;
    uint8_t *piece = mem_array(uint8_t, room);
    size_t got = 1;
    int fd = memfd_create("unpack", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, file->at, file->len) == (ssize_t)file->len);
    lseek(fd, 0, SEEK_SET);
    assert_true(unpack_open(&unpack, fd, "it", err));
    assert_string_equal(unpack_format(unpack), format);
    bool fine = true;
    while (fine && got > 0) {
        fine = unpack_read(unpack, piece, room, &got, err);
        buf_add(out, piece, fine ? got : 0);
    }
    unpack_close(unpack);
    close(fd);
    mem_free(piece);
    return fine;
}

static void gives(const Buf *file, const char *format, const Buf *content)
{
    for (size_t room = 7777; room < 2 * CONTENT; room *= 12) {
        scoped(buf_free) Buf out = {0};
        Err err = {0};
        if (!unpacked(file, room, format, &out, &err))
            fail_msg("%s", err.text);
        assert_int_equal(out.len, content->len);
        assert_true(content->len == 0 || memcmp(out.at, content->at, out.len) == 0);
    }
}

static void fails(const Buf *file, const char *format)
{
    scoped(buf_free) Buf out = {0};
    Err err = {0};
    assert_false(unpacked(file, 100000, format, &out, &err));
    assert_string_equal(err.cause, "file.damaged");
}

static void fill(Buf *content)
{
    uint64_t state = 88172645463325252U;
    while (content->len < CONTENT) { /* half of it random: it is larger than a piece, packed */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        buf_printf(content, "%08x row\n", (unsigned)state);
    }
}

static void each_form_gives_what_was_packed(void **state)
{
    scoped(buf_free) Buf content = {0};
    scoped(buf_free) Buf packed = {0};
    scoped(buf_free) Buf twice = {0};
    Buf nothing = {0};
    (void)state;
    fill(&content);
    gives(&content, "plain", &content);
    gives(&nothing, "plain", &nothing);
    buf_add_slice(&twice, buf_slice(&content));
    buf_add_slice(&twice, buf_slice(&content));
    gzip(&content, &packed);
    gives(&packed, "gzip", &content);
    gzip(&content, &packed);
    gives(&packed, "gzip", &twice);
    for (int i = 0; i < 700000; i++)
        buf_add_byte(&packed, 0);
    gives(&packed, "gzip", &twice);
    buf_clear(&packed);
    zstd(&content, &packed);
    gives(&packed, "zstd", &content);
    zstd(&content, &packed);
    gives(&packed, "zstd", &twice);
}

static void what_was_cut_or_damaged_fails(void **state)
{
    scoped(buf_free) Buf content = {0};
    scoped(buf_free) Buf packed = {0};
    (void)state;
    fill(&content);
    for (int form = 0; form < 2; form++) {
        const char *name = form == 0 ? "gzip" : "zstd";
        buf_clear(&packed);
        (form == 0 ? gzip : zstd)(&content, &packed);
        size_t whole = packed.len;
        static const size_t less[] = {1, 4, 8, 9, 1000, 300000};
        for (size_t i = 0; i < sizeof less / sizeof *less; i++) {
            packed.len = whole - less[i];
            fails(&packed, name);
        }
        packed.len = 5;
        fails(&packed, name);
        packed.len = whole;
        packed.at[whole / 2] ^= 0x10;
        fails(&packed, name);
        packed.at[whole / 2] ^= 0x10;
        buf_add_text(&packed, TEXT("behind it"));
        fails(&packed, name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_gives_what_was_packed),
        cmocka_unit_test(what_was_cut_or_damaged_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
