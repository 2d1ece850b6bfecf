/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_sum.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

enum { LANES = 32, PAGE_SUM_AT = 8, PAGE_UPPER_AT = 14 };

#define CASTAGNOLI 0x82F63B78U /* the polynomial, bits reversed */
#define FNV_PRIME  16777619U

static uint32_t crc_plain(uint32_t crc, const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? CASTAGNOLI : 0);
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *at,
                                                           size_t len)
{
    uint64_t wide = crc, word;
    for (; len >= 8; at += 8, len -= 8) {
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; at++, len--)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}

uint32_t postgresql_sum_crc(uint32_t crc, const void *at, size_t len)
{
    return ~(__builtin_cpu_supports("sse4.2") ? crc_fast(~crc, at, len) : crc_plain(~crc, at, len));
}
#else
uint32_t postgresql_sum_crc(uint32_t crc, const void *at, size_t len)
{
    return ~crc_plain(~crc, at, len);
}
#endif

/* Where each of the 32 sums that run side by side begins: numbers of the file format. */
static const uint32_t page_seeds[LANES] = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

static inline __attribute__((always_inline)) void stir(uint32_t sums[LANES],
                                                       const uint32_t words[LANES])
{
    for (int i = 0; i < LANES; i++) {
        uint32_t mixed = sums[i] ^ words[i];
        sums[i] = mixed * FNV_PRIME ^ mixed >> 17;
    }
}

static inline __attribute__((always_inline)) uint32_t page_sum_of(const uint8_t *page, size_t size)
{
    static const uint32_t zeros[LANES];
    uint32_t sums[LANES], words[LANES], all = 0;
    memcpy(sums, page_seeds, sizeof sums);
    for (size_t at = 0; at < size; at += sizeof words) {
        memcpy(words, page + at, sizeof words);
        if (at == 0) /* the sum itself counts as zero */
            words[PAGE_SUM_AT / 4] &= 0xFFFF0000U;
        stir(sums, words);
    }
    stir(sums, zeros);
    stir(sums, zeros);
    for (int i = 0; i < LANES; i++)
        all ^= sums[i];
    return all;
}

#if defined(__x86_64__)
__attribute__((target("avx2"), noinline)) static uint32_t page_sum_fast(const uint8_t *page,
                                                                        size_t size)
{
    return page_sum_of(page, size);
}
#endif

static uint32_t page_sum(const uint8_t *page, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return page_sum_fast(page, size);
#endif
    return page_sum_of(page, size);
}

PostgresqlPage postgresql_sum_page(const uint8_t *page, size_t size, uint32_t block, uint64_t start)
{
    uint16_t said, upper;
    uint32_t high, low;
    memcpy(&high, page, 4);
    memcpy(&low, page + 4, 4);
    memcpy(&said, page + PAGE_SUM_AT, 2);
    memcpy(&upper, page + PAGE_UPPER_AT, 2);
    if (upper == 0)
        return POSTGRESQL_PAGE_FINE;
    if (((uint64_t)high << 32 | low) >= start)
        return POSTGRESQL_PAGE_YOUNG;
    return (page_sum(page, size) ^ block) % 65535 + 1 == said ? POSTGRESQL_PAGE_FINE
                                                              : POSTGRESQL_PAGE_WRONG;
}
