/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/codec.h"

#include "common/base/mem.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

struct CodecWork {
    ZSTD_CCtx *deflate;
    ZSTD_DCtx *inflate;
};

typedef struct Codec {
    uint8_t id;
    const char *name;
    bool (*encode)(CodecWork *work, int level, Slice plain, uint8_t *out, size_t room, size_t *len);
    bool (*decode)(CodecWork *work, Slice coded, uint8_t *plain, size_t plain_len);
} Codec;

static bool none_encode(CodecWork *work, int level, Slice plain, uint8_t *out, size_t room,
                        size_t *len)
{
    (void)work;
    (void)level;
    *len = plain.len;
    if (plain.len > room)
        return false;
    if (plain.len != 0)
        memcpy(out, plain.at, plain.len);
    return true;
}

static bool none_decode(CodecWork *work, Slice coded, uint8_t *plain, size_t plain_len)
{
    (void)work;
    if (coded.len == plain_len && plain_len != 0)
        memcpy(plain, coded.at, plain_len);
    return coded.len == plain_len;
}

/* codec.h says why. A shorter content makes window and table smaller by itself. */
static bool set_chunk_search(ZSTD_CCtx *context)
{
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } search[] = {
        {ZSTD_c_compressionLevel, 3}, {ZSTD_c_strategy, ZSTD_fast}, {ZSTD_c_windowLog, 22},
        {ZSTD_c_hashLog, 17},         {ZSTD_c_minMatch, 5},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof search / sizeof search[0]; i++)
        good = good &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(context, search[i].parameter, search[i].value));
    return good;
}

static bool zstd_encode(CodecWork *work, int level, Slice plain, uint8_t *out, size_t room,
                        size_t *len)
{
    *len = level == 0 ? ZSTD_compress2(work->deflate, out, room, plain.at, plain.len)
                      : ZSTD_compressCCtx(work->deflate, out, room, plain.at, plain.len, level);
    return ZSTD_isError(*len) == 0;
}

static bool zstd_decode(CodecWork *work, Slice coded, uint8_t *plain, size_t plain_len)
{
    return ZSTD_decompressDCtx(work->inflate, plain, plain_len, coded.at, coded.len) == plain_len;
}

static bool zlib_encode(CodecWork *work, int level, Slice plain, uint8_t *out, size_t room,
                        size_t *len)
{
    uLongf written = room;
    (void)work;
    int result = compress2(out, &written, plain.at, plain.len, level < 1 || level > 9 ? 6 : level);
    *len = written;
    return result == Z_OK;
}

static bool zlib_decode(CodecWork *work, Slice coded, uint8_t *plain, size_t plain_len)
{
    uLongf written = plain_len;
    uLong read = coded.len;
    (void)work;
    return uncompress2(plain, &written, coded.at, &read) == Z_OK && written == plain_len &&
           read == coded.len;
}

static const Codec codecs[] = {
    {CODEC_NONE, "none", none_encode, none_decode},
    {CODEC_ZSTD, "zstd", zstd_encode, zstd_decode},
    {CODEC_ZLIB, "zlib", zlib_encode, zlib_decode},
};

static const Codec *codec_of(uint8_t id)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].id == id)
            return &codecs[i];
    return NULL;
}

CodecWork *codec_work_new(void)
{
    CodecWork *work = mem_new(CodecWork);
    work->deflate = ZSTD_createCCtx();
    work->inflate = ZSTD_createDCtx();
    if (work->deflate == NULL || work->inflate == NULL || !set_chunk_search(work->deflate))
        abort();
    return work;
}

void codec_work_free(CodecWork *work)
{
    if (work == NULL)
        return;
    ZSTD_freeCCtx(work->deflate);
    ZSTD_freeDCtx(work->inflate);
    mem_free(work);
}

size_t codec_bound(size_t plain)
{
    size_t zstd = ZSTD_compressBound(plain);
    size_t zlib = compressBound(plain);
    return zstd > zlib ? zstd : zlib;
}

bool codec_encode(CodecWork *work, uint8_t codec, int level, Slice plain, uint8_t *out, size_t *len,
                  uint8_t *used, Err *err)
{
    const Codec *row = codec_of(codec);
    size_t room = codec_bound(plain.len);
    if (row == NULL)
        return err_set(err, ERR_INVALID, "codec.unknown", "there is no codec %u", codec);
    *used = codec;
    if (!row->encode(work, level, plain, out, room, len))
        return err_set(err, ERR_BUG, "codec.encode", "%s does not encode %zu bytes", row->name,
                       plain.len);
    if (codec != CODEC_NONE && *len >= plain.len - plain.len / 32) {
        *used = CODEC_NONE;
        return none_encode(work, 0, plain, out, room, len);
    }
    return true;
}

bool codec_decode(CodecWork *work, uint8_t codec, Slice coded, uint8_t *plain, size_t plain_len,
                  Err *err)
{
    const Codec *row = codec_of(codec);
    if (row == NULL)
        return err_set(err, ERR_CORRUPT, "codec.unknown",
                       "codec %u is not known to this version; a newer one wrote it", codec);
    if (!row->decode(work, coded, plain, plain_len))
        return err_set(err, ERR_CORRUPT, "codec.damaged",
                       "%s does not give the %zu bytes that are recorded", row->name, plain_len);
    return true;
}

const char *codec_name(uint8_t codec)
{
    const Codec *row = codec_of(codec);
    return row == NULL ? NULL : row->name;
}

bool codec_find(Text name, uint8_t *codec, Err *err)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (text_equal(name, text_of(codecs[i].name))) {
            *codec = codecs[i].id;
            return true;
        }
    return err_set(err, ERR_INVALID, "codec.unknown",
                   "there is no codec '%.*s'; there are zstd, "
                   "zlib, none",
                   TEXT_ARG(name));
}
