/* SPDX-License-Identifier: Apache-2.0
 * The recovery kit as a page that can be printed and typed again:
 *
 *   Holdfast recovery kit 1
 *   key set   fleet-2026
 *   set id    5f0c…
 *   root      AAAAA-BBBBB-…
 *   reader    AAAAA-BBBBB-…
 *   check     01234567          first 4 bytes of sha256 over set, set id, root and reader */
#include "common/codec/keyfile.h"

#include "common/base/hash.h"

#include <strings.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
enum { SECRET_DIGITS = 52 }; /* 32 bytes in base32 */

static void print_secret(Buf *out, const uint8_t secret[32])
{
    for (unsigned n = 0; n < SECRET_DIGITS; n++) {
        unsigned value = 0;
        for (unsigned bit = 0; bit < 5; bit++) {
            unsigned at = n * 5 + bit;
            unsigned set = at < 256 ? ((unsigned)secret[at / 8] >> (7 - at % 8)) & 1u : 0;
            value = value << 1 | set;
        }
        if (n != 0 && n % 4 == 0)
            buf_add_byte(out, '-');
        buf_add_byte(out, (uint8_t)alphabet[value]);
    }
}

static bool parse_secret(Text text, uint8_t secret[32])
{
    unsigned n = 0;
    memset(secret, 0, 32);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '-' || c == ' ')
            continue;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
        const char *found = c == 0 ? NULL : strchr(alphabet, c);
        if (found == NULL || n == SECRET_DIGITS)
            return false;
        for (unsigned bit = 0; bit < 5; bit++) {
            unsigned at = n * 5 + bit;
            bool one = (unsigned)(found - alphabet) >> (4 - bit) & 1u;
            if (one && at >= 256)
                return false; /* the last digit has one bit; a slip in it is a slip */
            if (one)
                secret[at / 8] |= (uint8_t)(0x80u >> (at % 8));
        }
        n++;
    }
    return n == SECRET_DIGITS;
}

static void check_of(const Kit *kit, char out[9])
{
    Sha256 hash;
    HashSha256 *sum = hash_sha256_new();
    hash_sha256_add(sum, (Slice){(const uint8_t *)kit->set, strlen(kit->set) + 1});
    hash_sha256_add(sum, (Slice){kit->set_id.bytes, sizeof kit->set_id.bytes});
    hash_sha256_add(sum, (Slice){kit->root_seed, sizeof kit->root_seed});
    hash_sha256_add(sum, (Slice){kit->reader_secret, sizeof kit->reader_secret});
    hash_sha256_end(sum, &hash);
    hash_sha256_free(sum);
    ids_hex(hash.bytes, 4, out);
}

void keyfile_kit_print(const Kit *kit, Buf *out)
{
    char id[UUID_TEXT];
    char check[9];
    uuid_text(&kit->set_id, id);
    check_of(kit, check);
    buf_printf(
        out,
        "Holdfast recovery kit 1\n"
        "Whoever has this page can read every backup of its key set. Print it, lock it away,\n"
        "and try it:  holdfast-worker key check --kit FILE --store DIRECTORY\n\n"
        "key set   %s\nset id    %s\nroot      ",
        kit->set, id);
    print_secret(out, kit->root_seed);
    buf_printf(out, "\nreader    ");
    print_secret(out, kit->reader_secret);
    buf_printf(out, "\ncheck     %s\n", check);
}

/* The rest of the line that begins with `name`, blanks taken off both ends. */
static bool find_line(Text text, const char *name, Text *out)
{
    size_t skip = strlen(name);
    while (text.len != 0) {
        const char *end = memchr(text.at, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.at);
        if (len > skip && strncasecmp(text.at, name, skip) == 0 && text.at[skip] == ' ') {
            Text value = {text.at + skip, len - skip};
            while (value.len != 0 && value.at[0] == ' ')
                value = (Text){value.at + 1, value.len - 1};
            while (value.len != 0 &&
                   (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\r'))
                value.len--;
            *out = value;
            return value.len != 0;
        }
        size_t step = end == NULL ? len : len + 1;
        text = (Text){text.at + step, text.len - step};
    }
    return false;
}

bool keyfile_kit_parse(Text text, Kit *kit, Err *err)
{
    Text set;
    Text id;
    Text root;
    Text reader;
    Text check;
    char expected[9];
    *kit = (Kit){0};
    if (!find_line(text, "key set", &set) || !find_line(text, "set id", &id) ||
        !find_line(text, "root", &root) || !find_line(text, "reader", &reader) ||
        !find_line(text, "check", &check) || set.len > KEYFILE_NAME_MOST)
        return err_set(err, ERR_INVALID, "key.kit",
                       "this is not a recovery kit: it lacks one of the lines key set, set id, "
                       "root, reader, check");
    memcpy(kit->set, set.at, set.len);
    if (!uuid_parse(id, &kit->set_id, err))
        return false;
    if (!parse_secret(root, kit->root_seed) || !parse_secret(reader, kit->reader_secret))
        return err_set(err, ERR_INVALID, "key.kit", "a line of the recovery kit is mistyped");
    check_of(kit, expected);
    if (!text_equal(check, text_of(expected)))
        return err_set(err, ERR_INVALID, "key.kit",
                       "the recovery kit's check does not hold: a character is mistyped");
    return true;
}
