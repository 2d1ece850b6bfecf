/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_answer.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/s3_xml.h"

#include <stdlib.h>

static bool is(Text path, const char *name)
{
    return text_equal(path, text_of(name));
}

static bool odd(const char *what, Err *err)
{
    return err_set(err, ERR_CORRUPT, "store.protocol", "the server's answer %s", what);
}

/* --- a refusal ------------------------------------------------------------------------------ */

static bool take_problem(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    S3Problem *problem = ctx;
    if (event == S3_XML_BEGIN)
        return true;
    if (is(path, "Error/Code"))
        s3_problem_words(text, problem->code, sizeof problem->code);
    else if (is(path, "Error/Message"))
        s3_problem_words(text, problem->message, sizeof problem->message);
    else if (is(path, "Error/Region"))
        s3_problem_words(text, problem->region, sizeof problem->region);
    else if (path.len < 5 || memcmp(path.at, "Error", 5) != 0)
        return odd("is no refusal", err);
    return true;
}

bool s3_answer_problem(Slice body, S3Problem *problem)
{
    Err unused = {0};
    S3Problem found = {.status = problem->status};
    if (!s3_xml_read(body, take_problem, &found, &unused) || found.code[0] == 0)
        return false;
    if (found.region[0] == 0)
        memcpy(found.region, problem->region, sizeof found.region);
    *problem = found;
    return true;
}

/* --- uploads -------------------------------------------------------------------------------- */

static bool take_upload(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    (void)err;
    if (event == S3_XML_END && is(path, "InitiateMultipartUploadResult/UploadId")) {
        buf_clear(ctx);
        buf_add_text(ctx, text);
    }
    return true;
}

bool s3_answer_upload(Slice body, Buf *upload, Err *err)
{
    if (!s3_xml_read(body, take_upload, upload, err))
        return false;
    return (upload->len != 0 && upload->len <= 1024) || odd("names no upload", err);
}

static bool take_completed(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    (void)text;
    (void)err;
    *(bool *)ctx |= event == S3_XML_END && is(path, "CompleteMultipartUploadResult");
    return true;
}

bool s3_answer_completed(Slice body, Err *err)
{
    bool completed = false;
    if (!s3_xml_read(body, take_completed, &completed, err))
        return false;
    return completed || odd("does not say that the upload was completed", err);
}

typedef struct Copied {
    char *etag;
    size_t room;
} Copied;

static bool take_copied(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    const Copied *copied = ctx;
    if (event != S3_XML_END ||
        !(is(path, "CopyObjectResult/ETag") || is(path, "CopyPartResult/ETag")))
        return true;
    if (text.len >= copied->room || memchr(text.at, 0, text.len) != NULL)
        return odd("has an ETag that is none", err);
    memcpy(copied->etag, text.at, text.len);
    copied->etag[text.len] = 0;
    return true;
}

bool s3_answer_copied(Slice body, char *etag, size_t room, Err *err)
{
    Copied copied = {etag, room};
    etag[0] = 0;
    if (!s3_xml_read(body, take_copied, &copied, err))
        return false;
    return etag[0] != 0 || odd("does not say that anything was copied", err);
}

/* --- a page of a listing -------------------------------------------------------------------- */

typedef struct Listing {
    S3Page *page;
    bool encoded; /* names are percent-encoded; may be said behind them */
    bool told;    /* whether there is more */
    bool named, sized;
    S3Row row;
} Listing;

static bool take_size(Text text, uint64_t *size)
{
    char digits[24];
    if (text.len == 0 || text.len > 19)
        return false;
    memcpy(digits, text.at, text.len);
    digits[text.len] = 0;
    *size = strtoull(digits, NULL, 10);
    return strspn(digits, "0123456789") == text.len;
}

static bool end_row(Listing *listing, Err *err)
{
    S3Page *page = listing->page;
    if (!listing->named || !listing->sized)
        return odd("lists an object without its name or size", err);
    listing->named = listing->sized = false;
    if (page->count == page->room) {
        page->room = page->room == 0 ? 256 : 2 * page->room;
        page->rows = mem_resize(page->rows, page->room * sizeof *page->rows);
    }
    page->rows[page->count++] = listing->row;
    return true;
}

static bool take_more(Text text, bool *told, bool *more, Err *err)
{
    *told = true;
    *more = is(text, "true");
    return *more || is(text, "false") || odd("is neither the last page nor not", err);
}

static bool take_listed(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    Listing *listing = ctx;
    S3Page *page = listing->page;
    if (event == S3_XML_BEGIN)
        return true;
    if (is(path, "ListBucketResult/Contents/Key")) {
        listing->named = text.len > 0 && memchr(text.at, 0, text.len) == NULL;
        listing->row.name = page->names.len;
        buf_add_text(&page->names, text);
        buf_add_byte(&page->names, 0);
    } else if (is(path, "ListBucketResult/Contents/Size")) {
        listing->sized = take_size(text, &listing->row.size);
    } else if (is(path, "ListBucketResult/Contents")) {
        return end_row(listing, err);
    } else if (is(path, "ListBucketResult/IsTruncated")) {
        return take_more(text, &listing->told, &page->more, err);
    } else if (is(path, "ListBucketResult/NextContinuationToken")) {
        buf_clear(&page->next);
        buf_add_text(&page->next, text);
    } else if (is(path, "ListBucketResult/EncodingType")) {
        listing->encoded = is(text, "url");
    }
    return true;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* In place: it only gets shorter. */
static bool decode(char *name)
{
    char *to = name;
    for (const char *at = name; *at != 0; at++) {
        if (*at != '%') {
            *to++ = *at == '+' ? ' ' : *at;
            continue;
        }
        int high = digit_of(at[1]), low = high < 0 ? -1 : digit_of(at[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = 0;
    return true;
}

bool s3_answer_page(Slice body, S3Page *page, Err *err)
{
    Listing listing = {.page = page};
    buf_clear(&page->names);
    buf_clear(&page->next);
    page->count = 0;
    page->more = false;
    if (!s3_xml_read(body, take_listed, &listing, err))
        return false;
    if (!listing.told)
        return odd("is no page of a listing", err);
    if (page->more && (page->next.len == 0 || page->next.len > 8192))
        return odd("is not the last page and does not say which is the next", err);
    for (size_t i = 0; listing.encoded && i < page->count; i++)
        if (!decode((char *)page->names.at + page->rows[i].name))
            return odd("lists a name that is badly encoded", err);
    return true;
}

void s3_page_free(S3Page *page)
{
    buf_free(&page->names);
    buf_free(&page->next);
    mem_free(page->rows);
    *page = (S3Page){0};
}

/* --- a page of uploads ---------------------------------------------------------------------- */

typedef struct Lefts {
    S3Lefts *page;
    bool encoded, told;
    bool keyed, named, dated;
    S3Left row;
} Lefts;

static bool end_left(Lefts *lefts, Err *err)
{
    S3Lefts *page = lefts->page;
    if (!lefts->keyed || !lefts->named || !lefts->dated)
        return odd("lists an upload without its key, its id or its time", err);
    lefts->keyed = lefts->named = lefts->dated = false;
    if (page->count == page->room) {
        page->room = page->room == 0 ? 64 : 2 * page->room;
        page->rows = mem_resize(page->rows, page->room * sizeof *page->rows);
    }
    page->rows[page->count++] = lefts->row;
    return true;
}

static bool take_word(S3Lefts *page, Text text, size_t *place)
{
    *place = page->texts.len;
    buf_add_text(&page->texts, text);
    buf_add_byte(&page->texts, 0);
    return text.len > 0 && text.len <= 4096 && memchr(text.at, 0, text.len) == NULL;
}

static bool take_time(Text text, int64_t *wall_s)
{
    scoped(mem_release) char *time = mem_text(text);
    return clock_parse(time, wall_s);
}

static bool take_left(void *ctx, S3XmlEvent event, Text path, Text text, Err *err)
{
    Lefts *lefts = ctx;
    S3Lefts *page = lefts->page;
    if (event == S3_XML_BEGIN)
        return true;
    if (is(path, "ListMultipartUploadsResult/Upload/Key")) {
        lefts->keyed = take_word(page, text, &lefts->row.key);
    } else if (is(path, "ListMultipartUploadsResult/Upload/UploadId")) {
        lefts->named = take_word(page, text, &lefts->row.id);
    } else if (is(path, "ListMultipartUploadsResult/Upload/Initiated")) {
        lefts->dated = take_time(text, &lefts->row.begun_s);
    } else if (is(path, "ListMultipartUploadsResult/Upload")) {
        return end_left(lefts, err);
    } else if (is(path, "ListMultipartUploadsResult/IsTruncated")) {
        return take_more(text, &lefts->told, &page->more, err);
    } else if (is(path, "ListMultipartUploadsResult/NextKeyMarker")) {
        buf_clear(&page->next_key);
        buf_add_text(&page->next_key, text);
    } else if (is(path, "ListMultipartUploadsResult/NextUploadIdMarker")) {
        buf_clear(&page->next_id);
        buf_add_text(&page->next_id, text);
    } else if (is(path, "ListMultipartUploadsResult/EncodingType")) {
        lefts->encoded = is(text, "url");
    }
    return true;
}

static bool decode_lefts(S3Lefts *page, Err *err)
{
    for (size_t i = 0; i < page->count; i++)
        if (!decode((char *)page->texts.at + page->rows[i].key))
            return odd("lists an upload the key of which is badly encoded", err);
    if (page->next_key.len == 0)
        return true;
    buf_add_byte(&page->next_key, 0);
    if (!decode((char *)page->next_key.at))
        return odd("names a next key that is badly encoded", err);
    page->next_key.len = strlen((const char *)page->next_key.at);
    return true;
}

bool s3_answer_lefts(Slice body, S3Lefts *page, Err *err)
{
    Lefts lefts = {.page = page};
    buf_clear(&page->texts);
    buf_clear(&page->next_key);
    buf_clear(&page->next_id);
    page->count = 0;
    page->more = false;
    if (!s3_xml_read(body, take_left, &lefts, err))
        return false;
    if (!lefts.told)
        return odd("is no page of uploads", err);
    if (page->more && (page->next_key.len == 0 || page->next_key.len > 8192))
        return odd("is not the last page and does not say which is the next", err);
    return !lefts.encoded || decode_lefts(page, err);
}

void s3_lefts_free(S3Lefts *page)
{
    buf_free(&page->texts);
    buf_free(&page->next_key);
    buf_free(&page->next_id);
    mem_free(page->rows);
    *page = (S3Lefts){0};
}
