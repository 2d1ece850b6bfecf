/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static RedisAddress parsed(const char *url)
{
    RedisAddress address;
    Err err = {0};
    if (!redis_address_parse(text_of(url), &address, &err))
        fail_msg("%s: %s", url, err.text);
    return address;
}

static void a_server_has_host_port_database_and_user(void **state)
{
    (void)state;
    RedisAddress address = parsed("rediss://fra@queue1:6380/3");
    assert_true(address.tls);
    assert_string_equal(address.hosts[0].host, "queue1");
    assert_int_equal(address.hosts[0].port, 6380);
    assert_int_equal(address.database, 3);
    assert_string_equal(address.user, "fra");
    assert_null(address.master);
    redis_address_free(&address);
    address = parsed("redis://queue1");
    assert_false(address.tls);
    assert_int_equal(address.hosts[0].port, 6379);
    assert_null(address.user);
    redis_address_free(&address);
    address = parsed("redis://[::1]:7000/");
    assert_string_equal(address.hosts[0].host, "::1");
    assert_int_equal(address.hosts[0].port, 7000);
    redis_address_free(&address);
}

static void a_socket_has_a_path(void **state)
{
    (void)state;
    RedisAddress address = parsed("unix:///run/redis/s?db=2");
    assert_string_equal(address.socket_path, "/run/redis/s");
    assert_int_equal(address.database, 2);
    redis_address_free(&address);
}

static void sentinels_are_a_list_and_a_name(void **state)
{
    (void)state;
    RedisAddress address = parsed("rediss+sentinel://s1,s2:5000,[fe80::1]/main/4");
    assert_true(address.tls);
    assert_int_equal(address.host_count, 3);
    assert_int_equal(address.hosts[0].port, 26379);
    assert_int_equal(address.hosts[1].port, 5000);
    assert_string_equal(address.hosts[2].host, "fe80::1");
    assert_string_equal(address.master, "main");
    assert_int_equal(address.database, 4);
    redis_address_free(&address);
}

static void nodes_of_a_cluster_are_a_list_without_a_database(void **state)
{
    RedisAddress address;
    Err err = {0};
    (void)state;
    assert_true(redis_address_parse(TEXT("rediss+cluster://us@a,[::1]:7000"), &address, &err));
    assert_true(address.cluster && address.tls);
    assert_int_equal(address.host_count, 2);
    assert_string_equal(address.hosts[0].host, "a");
    assert_int_equal(address.hosts[0].port, 6379);
    assert_string_equal(address.hosts[1].host, "::1");
    assert_int_equal(address.hosts[1].port, 7000);
    assert_string_equal(address.user, "us");
    redis_address_free(&address);
}

static void what_is_no_address_is_refused_by_name(void **state)
{
    static const char *const wrong[] = {
        "",
        "queue1:6379",
        "http://queue1",
        "redis://",
        "redis://:6379",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://h/db",
        "redis://::1/0",
        "redis://[::1",
        "redis://[::1]x",
        "redis://a,b",
        "redis://user:secret@h",
        "unix://relative",
        "unix:///s?other=1",
        "redis+sentinel://s1",
        "redis+sentinel://s1/",
        "redis+sentinel://a,b,c,d,e,f,g,h,i/main",
        "redis+cluster://",
        "redis+cluster://a,b/1",
        "redis+cluster://a,b,c,d,e,f,g,h,i",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        RedisAddress address;
        Err err = {0};
        if (redis_address_parse(text_of(wrong[i]), &address, &err))
            fail_msg("accepted: %s", wrong[i]);
        assert_string_equal(err.cause, "queue.address");
        assert_null(strstr(err.text, "secret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_has_host_port_database_and_user),
        cmocka_unit_test(a_socket_has_a_path),
        cmocka_unit_test(sentinels_are_a_list_and_a_name),
        cmocka_unit_test(nodes_of_a_cluster_are_a_list_without_a_database),
        cmocka_unit_test(what_is_no_address_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
