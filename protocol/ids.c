/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ids.h"

#include <strings.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

bool uuid_is_nil(const Uuid *id)
{
    static const Uuid nil;
    return memcmp(id, &nil, sizeof nil) == 0;
}

bool uuid_equal(const Uuid *a, const Uuid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

int uuid_compare(const Uuid *a, const Uuid *b)
{
    return memcmp(a, b, sizeof *a);
}

void uuid_text(const Uuid *id, char out[UUID_TEXT])
{
    size_t at = 0;
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        ids_hex(&id->bytes[i], 1, out + at);
        at += 2;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool uuid_parse(Text text, Uuid *out, Err *err)
{
    char digits[32];
    size_t count = 0;
    bool dashes = text.len == 36;
    if (!dashes && text.len != 32)
        return err_set(err, ERR_USAGE, "id.invalid", "'%.*s' is not a uuid", TEXT_ARG(text));
    for (size_t i = 0; i < text.len; i++) {
        if (dashes && (i == 8 || i == 13 || i == 18 || i == 23)) {
            if (text.at[i] != '-')
                return err_set(err, ERR_USAGE, "id.invalid", "'%.*s' is not a uuid",
                               TEXT_ARG(text));
            continue;
        }
        digits[count++] = text.at[i];
    }
    return ids_unhex((Text){digits, count}, out->bytes, sizeof out->bytes, err);
}

/* RFC 9562 §5.4: version 4, variant 10. */
Uuid uuid_random(const uint8_t random[16])
{
    Uuid id;
    memcpy(id.bytes, random, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

Uuid uuid_backup(uint64_t unix_ms, const uint8_t random[16])
{
    Uuid id;
    memcpy(id.bytes, random, sizeof id.bytes);
    for (unsigned i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(unix_ms >> (8 * (5 - i)));
    return id;
}

/* The five bits that digit n of 26 stands for; digit 0 has only the top three. */
static unsigned base32_digit(const Uuid *id, unsigned n)
{
    unsigned value = 0;
    for (unsigned bit = 0; bit < 5; bit++) {
        int at = (int)(n * 5 + bit) - 2; /* 130 digit bits for 128 */
        unsigned set = at < 0 ? 0 : ((unsigned)id->bytes[at / 8] >> (7 - at % 8)) & 1u;
        value = value << 1 | set;
    }
    return value;
}

void uuid_backup_text(const Uuid *id, char out[BACKUP_ID_TEXT])
{
    memcpy(out, "bk_", 3);
    for (unsigned n = 0; n < 26; n++)
        out[3 + n] = alphabet[base32_digit(id, n)];
    out[29] = 0;
}

static int crockford(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'I' || c == 'L')
        c = '1';
    if (c == 'O')
        c = '0';
    const char *found = c == 0 ? NULL : strchr(alphabet, c);
    return found == NULL ? -1 : (int)(found - alphabet);
}

static bool has_prefix(Text text, const char *prefix)
{
    return text.len >= 3 && strncasecmp(text.at, prefix, 3) == 0;
}

/* Reads up to 26 digits and fills the bits that none says with `fill`. */
static bool backup_bits(Text text, unsigned fill, Uuid *out, Err *err)
{
    if (!has_prefix(text, "bk_") || text.len > 29 || text.len < 4)
        return err_set(err, ERR_USAGE, "id.invalid",
                       "'%.*s' is not a backup id; one looks like bk_01JD2K7Q…", TEXT_ARG(text));
    *out = (Uuid){0};
    for (unsigned n = 0; n < 26; n++) {
        int digit = n + 3 < text.len ? crockford(text.at[n + 3]) : fill ? n == 0 ? 7 : 31 : 0;
        if (digit < 0 || (n == 0 && digit > 7))
            return err_set(err, ERR_USAGE, "id.invalid", "'%.*s' is not a backup id",
                           TEXT_ARG(text));
        for (unsigned bit = 0; bit < 5; bit++) {
            int at = (int)(n * 5 + bit) - 2;
            if (at >= 0 && ((unsigned)digit >> (4 - bit) & 1u))
                out->bytes[at / 8] |= (uint8_t)(0x80u >> (at % 8));
        }
    }
    return true;
}

bool uuid_backup_parse(Text text, Uuid *out, Err *err)
{
    if (text.len != 29)
        return err_set(err, ERR_USAGE, "id.invalid", "'%.*s' is not a whole backup id",
                       TEXT_ARG(text));
    return backup_bits(text, 0, out, err);
}

bool uuid_backup_range(Text text, Uuid *first, Uuid *last, Err *err)
{
    return backup_bits(text, 0, first, err) && backup_bits(text, 1, last, err);
}

void ids_job_text(uint64_t job, char out[JOB_ID_TEXT])
{
    char digits[16];
    size_t count = 0;
    do {
        digits[count++] = alphabet[job % 32];
        job /= 32;
    } while (job != 0);
    while (count < 7)
        digits[count++] = '0';
    memcpy(out, "jb_", 3);
    for (size_t i = 0; i < count; i++)
        out[3 + i] = digits[count - 1 - i];
    out[3 + count] = 0;
}

bool ids_job_parse(Text text, uint64_t *job, Err *err)
{
    *job = 0;
    bool good = has_prefix(text, "jb_") && text.len >= 4 && text.len <= 16;
    for (size_t i = 3; good && i < text.len; i++) {
        int digit = crockford(text.at[i]);
        good = digit >= 0 && *job <= UINT64_MAX >> 5;
        *job = *job << 5 | (uint64_t)(digit < 0 ? 0 : digit);
    }
    if (!good)
        return err_set(err, ERR_USAGE, "id.invalid",
                       "'%.*s' is not a job id; one looks like jb_0000012", TEXT_ARG(text));
    return true;
}

void ids_hex(const uint8_t *at, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[at[i] >> 4];
        out[2 * i + 1] = digits[at[i] & 15];
    }
    out[2 * len] = 0;
}

bool ids_unhex(Text text, uint8_t *out, size_t len, Err *err)
{
    bool good = text.len == 2 * len;
    for (size_t i = 0; good && i < len; i++) {
        int high = hex_digit(text.at[2 * i]);
        int low = hex_digit(text.at[2 * i + 1]);
        good = high >= 0 && low >= 0;
        out[i] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    if (!good)
        return err_set(err, ERR_USAGE, "id.invalid", "'%.*s' is not %zu bytes of hex",
                       TEXT_ARG(text), len);
    return true;
}
