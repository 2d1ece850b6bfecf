/* SPDX-License-Identifier: Apache-2.0
 * The signatures that AWS publishes: "Authenticating Requests: Using the Authorization Header" in
 * the Amazon S3 API reference (20130524), and the Signature Version 4 test suite (20150830). */
#include "common/store/s3_sign.h"

#include "common/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void must_sign(S3Signed request, Text key, const S3Field *headers, size_t count,
                      const char *want)
{
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf out = {0};
    s3_path(&path, key);
    request.path = buf_text(&path);
    request.headers = headers;
    request.header_count = count;
    s3_sign(&request, &out);
    const char *signature = strstr(buf_cstr(&out), "Signature=");
    assert_non_null(signature);
    assert_string_equal(signature + 10, want);
}

static S3Signed of_s3(const char *method, const char *query)
{
    return (S3Signed){.method = method,
                      .query = text_of(query),
                      .payload = empty,
                      .date = "20130524T000000Z",
                      .region = "us-east-1",
                      .service = "s3",
                      .access_key = TEXT("AKIAIOSFODNN7EXAMPLE"),
                      .secret_key =
                          slice_of_text(TEXT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))};
}

#define HOST                                                                                       \
    {                                                                                              \
        TEXT("host"), TEXT("examplebucket.s3.amazonaws.com")                                       \
    }
#define DATE                                                                                       \
    {                                                                                              \
        TEXT("x-amz-date"), TEXT("20130524T000000Z")                                               \
    }
#define HASH(hex)                                                                                  \
    {                                                                                              \
        TEXT("x-amz-content-sha256"),                                                              \
        {                                                                                          \
            hex, 64                                                                                \
        }                                                                                          \
    }

static void a_get_of_a_range_has_the_published_signature(void **state)
{
    (void)state;
    /* In no order: the signer sorts. */
    const S3Field headers[] = {DATE, {TEXT("range"), TEXT("bytes=0-9")}, HOST, HASH(empty)};
    must_sign(of_s3("GET", ""), TEXT("/test.txt"), headers, 4,
              "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void a_put_with_an_odd_name_has_the_published_signature(void **state)
{
    (void)state;
    static const char payload[] =
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    char hex[SHA256_TEXT];
    Sha256 hash;
    hash_sha256(slice_of_text(TEXT("Welcome to Amazon S3.")), &hash);
    ids_hex(hash.bytes, sizeof hash.bytes, hex);
    assert_string_equal(hex, payload);
    const S3Field headers[] = {HOST,
                               {TEXT("date"), TEXT("Fri, 24 May 2013 00:00:00 GMT")},
                               {TEXT("x-amz-storage-class"), TEXT("REDUCED_REDUNDANCY")},
                               DATE,
                               HASH(payload)};
    S3Signed request = of_s3("PUT", "");
    request.payload = payload;
    must_sign(request, TEXT("/test$file.text"), headers, 5,
              "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void questions_have_the_published_signatures(void **state)
{
    (void)state;
    const S3Field headers[] = {HOST, DATE, HASH(empty)};
    const S3Field list[] = {{TEXT("prefix"), TEXT("J")}, {TEXT("max-keys"), TEXT("2")}};
    const S3Field lifecycle[] = {{TEXT("lifecycle"), TEXT("")}};
    scoped(buf_free) Buf query = {0};
    s3_query(&query, list, 2);
    assert_string_equal(buf_cstr(&query), "max-keys=2&prefix=J");
    must_sign(of_s3("GET", buf_cstr(&query)), TEXT("/"), headers, 3,
              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    buf_clear(&query);
    s3_query(&query, lifecycle, 1);
    assert_string_equal(buf_cstr(&query), "lifecycle=");
    must_sign(of_s3("GET", buf_cstr(&query)), TEXT("/"), headers, 3,
              "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static S3Signed of_suite(const char *query)
{
    return (S3Signed){.method = "GET",
                      .query = text_of(query),
                      .payload = empty,
                      .date = "20150830T123600Z",
                      .region = "us-east-1",
                      .service = "service",
                      .access_key = TEXT("AKIDEXAMPLE"),
                      .secret_key =
                          slice_of_text(TEXT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))};
}

static void the_test_suite_is_signed_as_published(void **state)
{
    (void)state;
    const S3Field plain[] = {{TEXT("host"), TEXT("example.amazonaws.com")},
                             {TEXT("x-amz-date"), TEXT("20150830T123600Z")}};
    const S3Field blanks[] = {{TEXT("host"), TEXT("example.amazonaws.com")},
                              {TEXT("my-header1"), TEXT(" value1")},
                              {TEXT("my-header2"), TEXT(" \"a   b   c\"")},
                              {TEXT("x-amz-date"), TEXT("20150830T123600Z")}};
    const S3Field order[] = {{TEXT("Param2"), TEXT("value2")}, {TEXT("Param1"), TEXT("value1")}};
    scoped(buf_free) Buf query = {0};
    must_sign(of_suite(""), TEXT("/"), plain, 2,
              "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    s3_query(&query, order, 2);
    must_sign(of_suite(buf_cstr(&query)), TEXT("/"), plain, 2,
              "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    must_sign(of_suite(""), TEXT("/"), blanks, 4,
              "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

static void parameters_are_sorted_by_name_and_then_by_value(void **state)
{
    (void)state;
    const S3Field fields[] = {{TEXT("a-b"), TEXT("1")},
                              {TEXT("a"), TEXT("2")},
                              {TEXT("a"), TEXT("10")},
                              {TEXT("A"), TEXT("z y+%")},
                              {TEXT("uploads"), TEXT("")}};
    scoped(buf_free) Buf query = {0};
    s3_query(&query, fields, 5);
    assert_string_equal(buf_cstr(&query), "A=z%20y%2B%25&a=10&a=2&a-b=1&uploads=");
}

static void a_key_keeps_its_slashes_and_a_value_does_not(void **state)
{
    (void)state;
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf value = {0};
    s3_path(&path, TEXT("/b/a b+(c)='d'~\xc3\xa9/e.f_g-h"));
    assert_string_equal(buf_cstr(&path), "/b/a%20b%2B%28c%29%3D%27d%27~%C3%A9/e.f_g-h");
    s3_encode(&value, TEXT("a/b"));
    assert_string_equal(buf_cstr(&value), "a%2Fb");
}

static void a_date_is_of_the_second(void **state)
{
    (void)state;
    char date[S3_DATE_TEXT];
    s3_date(1369353600999999999, date);
    assert_string_equal(date, "20130524T000000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_of_a_range_has_the_published_signature),
        cmocka_unit_test(a_put_with_an_odd_name_has_the_published_signature),
        cmocka_unit_test(questions_have_the_published_signatures),
        cmocka_unit_test(the_test_suite_is_signed_as_published),
        cmocka_unit_test(parameters_are_sorted_by_name_and_then_by_value),
        cmocka_unit_test(a_key_keeps_its_slashes_and_a_value_does_not),
        cmocka_unit_test(a_date_is_of_the_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
