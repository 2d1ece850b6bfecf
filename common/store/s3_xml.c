/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_xml.h"

#include <stdlib.h>

typedef struct Scanner {
    const char *at, *end;
    S3XmlVisit *visit;
    void *ctx;
    Buf path;
    Buf text;                    /* of the innermost element, since its begin or a child's end */
    size_t starts[S3_XML_DEPTH]; /* length of path before each open element */
    size_t depth;
    bool closed; /* the root has ended */
} Scanner;

static bool refuse(const char *what, Err *err)
{
    return err_set(err, ERR_CORRUPT, "store.protocol", "the server's answer is no proper XML: %s",
                   what);
}

static bool begins(const Scanner *scanner, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(scanner->end - scanner->at) >= len && memcmp(scanner->at, word, len) == 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(Scanner *scanner)
{
    while (scanner->at < scanner->end && blank(*scanner->at))
        scanner->at++;
}

/* Behind the next `mark`; false when there is none. */
static bool skip_behind(Scanner *scanner, const char *mark)
{
    size_t len = strlen(mark);
    const char *found = memmem(scanner->at, (size_t)(scanner->end - scanner->at), mark, len);
    if (found != NULL)
        scanner->at = found + len;
    return found != NULL;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ':';
}

/* A name without the prefix of its name space. */
static bool take_name(Scanner *scanner, Text *name, Err *err)
{
    const char *start = scanner->at;
    while (scanner->at < scanner->end && name_char(*scanner->at)) {
        if (*scanner->at++ == ':')
            start = scanner->at;
    }
    *name = (Text){start, (size_t)(scanner->at - start)};
    return (name->len != 0 && name->len <= S3_XML_NAME) || refuse("a bad name", err);
}

/* UTF-8 of one character; false for what is none. */
static bool add_character(Buf *out, unsigned long c)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return false;
    if (c < 0x80) {
        buf_add_byte(out, (uint8_t)c);
        return true;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    buf_add_byte(out, (uint8_t)(leads[more] | (c >> (6 * more))));
    while (more-- > 0)
        buf_add_byte(out, (uint8_t)(0x80 | ((c >> (6 * more)) & 0x3f)));
    return true;
}

static bool add_reference(Buf *out, Text word)
{
    const struct {
        Text name;
        char is;
    } known[] = {{TEXT("amp"), '&'},
                 {TEXT("lt"), '<'},
                 {TEXT("gt"), '>'},
                 {TEXT("quot"), '"'},
                 {TEXT("apos"), '\''}};
    char digits[12], *end;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (text_equal(word, known[i].name)) {
            buf_add_byte(out, (uint8_t)known[i].is);
            return true;
        }
    if (word.len < 2 || word.len > 9 || word.at[0] != '#')
        return false;
    bool hex = word.at[1] == 'x';
    size_t skip = hex ? 2 : 1;
    memcpy(digits, word.at + skip, word.len - skip);
    digits[word.len - skip] = 0;
    if (strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789") != word.len - skip)
        return false;
    unsigned long c = strtoul(digits, &end, hex ? 16 : 10);
    return end != digits && add_character(out, c);
}

static bool take_text(Scanner *scanner, Err *err)
{
    while (scanner->at < scanner->end && *scanner->at != '<') {
        char c = *scanner->at++;
        if (c == 0)
            return refuse("a zero byte", err);
        if (scanner->depth == 0 && !blank(c))
            return refuse("text outside its root", err);
        if (c != '&') {
            buf_add_byte(&scanner->text, (uint8_t)c);
            continue;
        }
        const char *semicolon = memchr(scanner->at, ';', (size_t)(scanner->end - scanner->at));
        if (semicolon == NULL ||
            !add_reference(&scanner->text, (Text){scanner->at, (size_t)(semicolon - scanner->at)}))
            return refuse("an unknown reference", err);
        scanner->at = semicolon + 1;
    }
    return true;
}

static bool end_element(Scanner *scanner, Err *err)
{
    bool go_on = scanner->visit(scanner->ctx, S3_XML_END, buf_text(&scanner->path),
                                buf_text(&scanner->text), err);
    scanner->depth--;
    scanner->path.len = scanner->starts[scanner->depth];
    scanner->closed = scanner->depth == 0;
    buf_clear(&scanner->text);
    return go_on;
}

static bool begin_element(Scanner *scanner, Text name, Err *err)
{
    if (scanner->closed)
        return refuse("more than one root", err);
    if (scanner->depth == S3_XML_DEPTH)
        return refuse("it is nested too deeply", err);
    scanner->starts[scanner->depth++] = scanner->path.len;
    if (scanner->path.len != 0)
        buf_add_byte(&scanner->path, '/');
    buf_add_text(&scanner->path, name);
    buf_clear(&scanner->text);
    return scanner->visit(scanner->ctx, S3_XML_BEGIN, buf_text(&scanner->path), (Text){"", 0}, err);
}

/* name="value" again and again: passed over, but well formed. */
static bool skip_attributes(Scanner *scanner, Err *err)
{
    Text name;
    for (;;) {
        skip_blanks(scanner);
        if (scanner->at == scanner->end)
            return refuse("it ends within a tag", err);
        if (*scanner->at == '>' || *scanner->at == '/')
            return true;
        if (!take_name(scanner, &name, err))
            return false;
        skip_blanks(scanner);
        if (scanner->at == scanner->end || *scanner->at++ != '=')
            return refuse("an attribute without a value", err);
        skip_blanks(scanner);
        if (scanner->at == scanner->end || (*scanner->at != '"' && *scanner->at != '\''))
            return refuse("an attribute without quotes", err);
        char quote[2] = {*scanner->at++, 0};
        if (!skip_behind(scanner, quote))
            return refuse("a quote that does not end", err);
    }
}

static bool take_end_tag(Scanner *scanner, Err *err)
{
    Text name;
    scanner->at += 2;
    if (!take_name(scanner, &name, err))
        return false;
    skip_blanks(scanner);
    if (scanner->at == scanner->end || *scanner->at++ != '>')
        return refuse("an end tag that does not end", err);
    if (scanner->depth == 0)
        return refuse("an end without a beginning", err);
    size_t start = scanner->starts[scanner->depth - 1];
    start += start != 0;
    Text open = {(const char *)scanner->path.at + start, scanner->path.len - start};
    return text_equal(open, name) ? end_element(scanner, err)
                                  : refuse("an end tag that fits no beginning", err);
}

static bool take_tag(Scanner *scanner, Err *err)
{
    Text name;
    if (begins(scanner, "<!--"))
        return skip_behind(scanner, "-->") || refuse("a comment that does not end", err);
    if (begins(scanner, "<?"))
        return skip_behind(scanner, "?>") || refuse("a declaration that does not end", err);
    if (begins(scanner, "<!"))
        return refuse("a document type or CDATA", err);
    if (begins(scanner, "</"))
        return take_end_tag(scanner, err);
    scanner->at++;
    if (!take_name(scanner, &name, err) || !begin_element(scanner, name, err) ||
        !skip_attributes(scanner, err))
        return false;
    bool empty = *scanner->at == '/';
    scanner->at += empty;
    if (scanner->at == scanner->end || *scanner->at++ != '>')
        return refuse("a tag that does not end", err);
    return !empty || end_element(scanner, err);
}

bool s3_xml_read(Slice document, S3XmlVisit *visit, void *ctx, Err *err)
{
    Text text = text_of_slice(document);
    Scanner scanner = {.at = text.at, .visit = visit, .ctx = ctx};
    bool fine = true;
    scanner.end = text.len == 0 ? text.at : text.at + text.len;
    while (fine && scanner.at < scanner.end)
        fine = *scanner.at == '<' ? take_tag(&scanner, err) : take_text(&scanner, err);
    if (fine && !scanner.closed)
        fine = refuse("it is not whole", err);
    buf_free(&scanner.path);
    buf_free(&scanner.text);
    return fine;
}
