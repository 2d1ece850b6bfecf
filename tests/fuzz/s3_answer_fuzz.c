/* SPDX-License-Identifier: Apache-2.0
 * What an S3 server may send: a page's rows lie within it, and a page that is not the last says
 * which is the next. */
#include "common/store/s3_answer.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Err err = {0};
    S3Page page = {0};
    S3Problem problem = {.status = 500};
    Slice body = {bytes, size};
    scoped(buf_free) Buf upload = {0};
    if (s3_answer_page(body, &page, &err)) {
        for (size_t i = 0; i < page.count; i++)
            if (page.rows[i].name >= page.names.len)
                abort();
        if (page.more && page.next.len == 0)
            abort();
    }
    s3_page_free(&page);
    S3Lefts lefts = {0};
    if (s3_answer_lefts(body, &lefts, &err)) {
        for (size_t i = 0; i < lefts.count; i++)
            if (lefts.rows[i].key >= lefts.texts.len || lefts.rows[i].id >= lefts.texts.len)
                abort();
        if (lefts.more && lefts.next_key.len == 0)
            abort();
    }
    s3_lefts_free(&lefts);
    if (s3_answer_problem(body, &problem) && s3_answer_completed(body, &err))
        abort();
    if (s3_answer_upload(body, &upload, &err) && upload.len == 0)
        abort();
    return 0;
}
