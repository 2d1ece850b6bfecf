/* SPDX-License-Identifier: Apache-2.0
 * Answers of S3 servers: what is taken from them, and what is never taken for one. */
#include "common/store/s3_answer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static Slice of(const char *text)
{
    return (Slice){(const uint8_t *)text, strlen(text)};
}

static const char page_text[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
    "<Prefix/><!-- <Key>no</Key> --><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
    "<Contents><Key>p/a%20b%2Bc</Key><Owner><ID>Key</ID></Owner><Size>0</Size></Contents>"
    "<Contents><Size>1099511627776</Size><ETag>&quot;x&quot;</ETag><Key>p/&#x41;&amp;</Key>"
    "</Contents><NextContinuationToken>a/b+c==</NextContinuationToken>"
    "<EncodingType>url</EncodingType></ListBucketResult>\n";

static void a_page_is_read_whole(void **state)
{
    (void)state;
    S3Page page = {0};
    Err err = {0};
    for (unsigned again = 0; again < 2; again++) {
        assert_true(s3_answer_page(of(page_text), &page, &err));
        assert_int_equal(page.count, 2);
        assert_string_equal((char *)page.names.at + page.rows[0].name, "p/a b+c");
        assert_string_equal((char *)page.names.at + page.rows[1].name, "p/A&");
        assert_int_equal(page.rows[0].size, 0);
        assert_int_equal(page.rows[1].size, 1099511627776);
        assert_true(page.more);
        assert_string_equal(buf_cstr(&page.next), "a/b+c==");
    }
    s3_page_free(&page);
}

/* Each beginning of it is an answer that a broken line could leave. */
static void no_part_of_a_page_is_a_page(void **state)
{
    (void)state;
    for (size_t len = 0; len + 2 < sizeof page_text; len++) {
        S3Page page = {0};
        Err err = {0};
        assert_false(s3_answer_page((Slice){(const uint8_t *)page_text, len}, &page, &err));
        assert_string_equal(err.cause, "store.protocol");
        s3_page_free(&page);
    }
}

static void what_is_no_page_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "hello",
        "<html><body>Welcome</body></html>",
        "<ListBucketResult></ListBucketResult>",
        "<ListBucketResult><IsTruncated>yes</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>"
        "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents>"
        "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size>"
        "</Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
        "<Contents><Key>a%2</Key><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult><b/>",
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>x",
        "<ListBucketResult><IsTruncated>false</IsTruncatee></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult><IsTruncated>false</IsTruncated>"
        "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><a>&b;</a></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><a>&#0;</a></ListBucketResult>",
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        S3Page page = {0};
        Err err = {0};
        assert_false(s3_answer_page(of(bad[i]), &page, &err));
        assert_string_equal(err.cause, "store.protocol");
        s3_page_free(&page);
    }
}

static const char lefts_text[] =
    "<ListMultipartUploadsResult "
    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket>"
    "<KeyMarker/><NextKeyMarker>p%2Fb</NextKeyMarker><NextUploadIdMarker>u+2</NextUploadIdMarker>"
    "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Upload><Key>p%2Fa%20b</Key>"
    "<UploadId>u&amp;1</UploadId><Initiator><ID>Key</ID></Initiator>"
    "<Initiated>2026-01-02T03:04:05.678Z</Initiated></Upload><Upload><Initiated>1970-01-01T00:00:"
    "09Z</Initiated><UploadId>u+2</UploadId><Key>p/b</Key></Upload></ListMultipartUploadsResult>";

static void a_page_of_uploads_is_read_whole(void **state)
{
    (void)state;
    S3Lefts page = {0};
    Err err = {0};
    for (unsigned again = 0; again < 2; again++) {
        assert_true(s3_answer_lefts(of(lefts_text), &page, &err));
        const char *texts = (const char *)page.texts.at;
        assert_int_equal(page.count, 2);
        assert_string_equal(texts + page.rows[0].key, "p/a b");
        assert_string_equal(texts + page.rows[0].id, "u&1");
        assert_int_equal(page.rows[0].begun_s, 1767323045);
        assert_string_equal(texts + page.rows[1].key, "p/b");
        assert_string_equal(texts + page.rows[1].id, "u+2");
        assert_int_equal(page.rows[1].begun_s, 9);
        assert_true(page.more);
        assert_string_equal(buf_cstr(&page.next_key), "p/b");
        assert_string_equal(buf_cstr(&page.next_id), "u+2");
    }
    s3_lefts_free(&page);
}

static void what_is_no_page_of_uploads_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "<ListMultipartUploadsResult></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>a</Key><UploadId>"
        "u</UploadId></Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>a</Key><UploadId>"
        "u</UploadId><Initiated>yesterday</Initiated></Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key/><UploadId>u"
        "</UploadId><Initiated>2026-01-02</Initiated></Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><EncodingType>url"
        "</EncodingType><Upload><Key>%0</Key><UploadId>u</UploadId><Initiated>2026-01-02"
        "</Initiated></Upload></ListMultipartUploadsResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        S3Lefts page = {0};
        Err err = {0};
        assert_false(s3_answer_lefts(of(bad[i]), &page, &err));
        assert_string_equal(err.cause, "store.protocol");
        s3_lefts_free(&page);
    }
    for (size_t len = 0; len + 2 < sizeof lefts_text; len++) {
        S3Lefts page = {0};
        Err err = {0};
        assert_false(s3_answer_lefts((Slice){(const uint8_t *)lefts_text, len}, &page, &err));
        s3_lefts_free(&page);
    }
}

static void a_refusal_is_told_from_everything_else(void **state)
{
    (void)state;
    S3Problem problem = {.status = 503};
    assert_true(s3_answer_problem(of("\n  <Error><Code>SlowDown</Code><Message>Please\x07 reduce "
                                     "it</Message><RequestId>1</RequestId></Error>"),
                                  &problem));
    assert_string_equal(problem.code, "SlowDown");
    assert_string_equal(problem.message, "Please? reduce it");
    assert_int_equal(problem.status, 503);
    assert_false(s3_answer_problem(of("<html><h1>503</h1></html>"), &problem));
    assert_false(s3_answer_problem(of("<Error><Code>SlowDown</Code>"), &problem));
    assert_false(s3_answer_problem(of("<Error/>"), &problem));
    assert_false(s3_answer_problem((Slice){0}, &problem));
}

static void an_upload_is_completed_by_its_result_alone(void **state)
{
    (void)state;
    Err err = {0};
    scoped(buf_free) Buf upload = {0};
    assert_true(s3_answer_completed(
        of("<?xml version=\"1.0\"?>\n\n <s3:CompleteMultipartUploadResult xmlns:s3='x'>"
           "<ETag>\"a-1\"</ETag></s3:CompleteMultipartUploadResult>"),
        &err));
    assert_false(s3_answer_completed(of("<Error><Code>InternalError</Code></Error>"), &err));
    assert_false(s3_answer_completed(of("   "), &err));
    assert_false(s3_answer_completed(of("<CompleteMultipartUploadResult>"), &err));
    assert_true(s3_answer_upload(of("<InitiateMultipartUploadResult><Bucket>b</Bucket>"
                                    "<UploadId>u~1</UploadId></InitiateMultipartUploadResult>"),
                                 &upload, &err));
    assert_string_equal(buf_cstr(&upload), "u~1");
    buf_clear(&upload);
    assert_false(s3_answer_upload(of("<InitiateMultipartUploadResult/>"), &upload, &err));
}

static void each_refusal_has_its_name(void **state)
{
    (void)state;
    static const struct {
        S3Problem problem;
        S3Verdict verdict;
        const char *cause;
        ErrCode code;
    } known[] = {
        {{403, "AccessDenied", "no", ""}, S3_NEW_KEYS, "store.denied", ERR_DENIED},
        {{403, "", "", ""}, S3_NEW_KEYS, "store.denied", ERR_DENIED},
        {{403, "RequestTimeTooSkewed", "", ""}, S3_GIVE_UP, "store.clock", ERR_UNREACHABLE},
        {{403, "SignatureDoesNotMatch", "", ""}, S3_NEW_KEYS, "store.credentials", ERR_DENIED},
        {{403, "QuotaExceeded", "", ""}, S3_GIVE_UP, "store.full", ERR_FULL},
        {{404, "NoSuchBucket", "", ""}, S3_GIVE_UP, "store.gone", ERR_UNREACHABLE},
        {{503, "SlowDown", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{502, "", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{503, "Strange", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{200, "InternalError", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{429, "", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{400, "RequestTimeout", "", ""}, S3_TRY_AGAIN, "store.timeout", ERR_TIMEOUT},
        {{409, "ConditionalRequestConflict", "", ""}, S3_TRY_AGAIN, "store.busy", ERR_UNREACHABLE},
        {{301, "PermanentRedirect", "", "eu-west-1"}, S3_GIVE_UP, "store.redirect", ERR_INVALID},
        {{307, "", "", ""}, S3_GIVE_UP, "store.redirect", ERR_INVALID},
        {{507, "", "", ""}, S3_GIVE_UP, "store.full", ERR_FULL},
        {{501, "", "", ""}, S3_GIVE_UP, "store.unsupported", ERR_INVALID},
        {{400, "InvalidArgument", "", ""}, S3_GIVE_UP, "store.refused", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        Err err = {0};
        assert_int_equal(s3_problem_verdict(&known[i].problem), known[i].verdict);
        assert_false(s3_problem_raise(&known[i].problem, "PUT a/b", &err));
        assert_string_equal(err.cause, known[i].cause);
        assert_int_equal(err.code, known[i].code);
        assert_non_null(strstr(err.text, "PUT a/b"));
        assert_non_null(strstr(err.text, known[i].problem.code));
        assert_non_null(strstr(err.text, known[i].problem.region));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_read_whole),
        cmocka_unit_test(no_part_of_a_page_is_a_page),
        cmocka_unit_test(what_is_no_page_is_refused),
        cmocka_unit_test(a_page_of_uploads_is_read_whole),
        cmocka_unit_test(what_is_no_page_of_uploads_is_refused),
        cmocka_unit_test(a_refusal_is_told_from_everything_else),
        cmocka_unit_test(an_upload_is_completed_by_its_result_alone),
        cmocka_unit_test(each_refusal_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
