/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"
#include "common/base/json.h"
#include "scheduler/plan/fleet_diff.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
    Err err = {0};
    json_t *value = NULL;
    assert_true(json_parse(text_of(text), &value, &err));
    return value;
}

/* The difference of two documents, whose quotes are written as ', is this. */
static void says(const char *from, const char *to, const char *expected)
{
    Buf text[3] = {{0}, {0}, {0}};
    const char *words[] = {from, to, expected};
    json_t *values[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        for (const char *at = words[i]; at != NULL && *at != 0; at++)
            buf_add_byte(&text[i], *at == '\'' ? '"' : (uint8_t)*at);
        values[i] = words[i] == NULL ? NULL : parse(buf_cstr(&text[i]));
    }
    json_t *diff = fleet_diff(values[0], values[1]);
    scoped(buf_free) Buf said = {0};
    scoped(buf_free) Buf wanted = {0};
    json_canonical(diff, &said);
    json_canonical(values[2], &wanted);
    assert_string_equal(buf_cstr(&said), buf_cstr(&wanted));
    assert_false(fleet_diff_empty(diff));
    json_decref(diff);
    for (size_t i = 0; i < 3; i++) {
        json_decref(values[i]);
        buf_free(&text[i]);
    }
}

static void sources_come_go_and_stay_in_order_of_their_names(void **state)
{
    (void)state;
    says("{'sources':{'z':{'a':1},'m':{'a':1},'same':{'a':1}}}",
         "{'sources':{'y':{'a':1},'b':{'a':1},'same':{'a':1}}}",
         "{'added':['b','y'],'retired':['m','z'],'changed':[],'unchanged':1,'settings':[],"
         "'files':[]}");
}

static void without_a_policy_before_everything_is_added(void **state)
{
    (void)state;
    says(NULL, "{'sources':{'a':{'x':1}},'pools':{'fra':{'max_jobs':8}}}",
         "{'added':['a'],'retired':[],'changed':[],'unchanged':0,'files':[],"
         "'settings':[{'path':'pools.fra.max_jobs','from':null,'to':8}]}");
}

static void a_changed_source_says_which_member_was_what(void **state)
{
    (void)state;
    says("{'sources':{'a':{'policy':'gold','schedules':{'default':{'at':'@daily'}},'n':1}}}",
         "{'sources':{'a':{'policy':'iron','schedules':{'default':{'at':'@weekly'}},'n':1}}}",
         "{'added':[],'retired':[],'unchanged':0,'settings':[],'files':[],'changed':[{'name':'a',"
         "'fields':[{'path':'policy','from':'gold','to':'iron'},"
         "{'path':'schedules.default.at','from':'@daily','to':'@weekly'}]}]}");
}

static void a_record_that_comes_is_told_member_by_member(void **state)
{
    (void)state;
    says("{'sources':{'a':{'s':{'x':{'at':'1'}}}}}",
         "{'sources':{'a':{'s':{'x':{'at':'1'},'y':{'at':'2','kind':'backup'}}}}}",
         "{'added':[],'retired':[],'unchanged':0,'settings':[],'files':[],'changed':[{'name':'a',"
         "'fields':[{'path':'s.y.at','from':null,'to':'2'},"
         "{'path':'s.y.kind','from':null,'to':'backup'}]}]}");
}

static void lists_of_records_are_compared_place_by_place(void **state)
{
    (void)state;
    says("{'sources':{'a':{'copies':[{'store':'n'},{'store':'s','keep':1}]}}}",
         "{'sources':{'a':{'copies':[{'store':'n'},{'store':'s','keep':2}]}}}",
         "{'added':[],'retired':[],'unchanged':0,'settings':[],'files':[],'changed':[{'name':'a',"
         "'fields':[{'path':'copies[1].keep','from':1,'to':2}]}]}");
}

static void other_lists_are_compared_as_wholes(void **state)
{
    (void)state;
    says("{'sources':{'a':{'paths':['/a','/b'],'copies':[{'s':1}]}}}",
         "{'sources':{'a':{'paths':['/a','/c'],'copies':[{'s':1},{'s':2}]}}}",
         "{'added':[],'retired':[],'unchanged':0,'settings':[],'files':[],'changed':[{'name':'a',"
         "'fields':[{'path':'copies','from':[{'s':1}],'to':[{'s':1},{'s':2}]},"
         "{'path':'paths','from':['/a','/b'],'to':['/a','/c']}]}]}");
}

static void null_and_absent_and_of_another_shape_are_changes(void **state)
{
    (void)state;
    says("{'sources':{'a':{'x':null,'y':{'z':1},'e':{}}}}",
         "{'sources':{'a':{'x':1,'y':'word','e':{'f':2}}}}",
         "{'added':[],'retired':[],'unchanged':0,'settings':[],'files':[],'changed':[{'name':'a',"
         "'fields':[{'path':'e.f','from':null,'to':2},{'path':'x','from':null,'to':1},"
         "{'path':'y','from':{'z':1},'to':'word'}]}]}");
}

static void what_is_merged_into_sources_is_not_told_twice(void **state)
{
    (void)state;
    says("{'sources':{},'policies':{'gold':{'a':1}},'stores':{'n':{'path':'/a'}}}",
         "{'sources':{},'policies':{'gold':{'a':2}},'stores':{'n':{'path':'/b'}}}",
         "{'added':[],'retired':[],'changed':[],'unchanged':0,'files':[],"
         "'settings':[{'path':'stores.n.path','from':'/a','to':'/b'}]}");
}

static void files_that_say_the_same_in_other_words_are_told(void **state)
{
    (void)state;
    says("{'files':[{'name':'a','text':'1'},{'name':'b','text':'2'},{'name':'c','text':'3'}]}",
         "{'files':[{'name':'a','text':'1'},{'name':'c','text':'4'},{'name':'d','text':'5'}]}",
         "{'added':[],'retired':[],'changed':[],'unchanged':0,'settings':[],"
         "'files':[{'name':'b','change':'removed'},{'name':'c','change':'changed'},"
         "{'name':'d','change':'added'}]}");
}

static void the_same_is_no_difference(void **state)
{
    (void)state;
    static const char text[] =
        "{'sources':{'a':{'x':[1,{'y':2}]}},'files':[{'name':'a','text':''}],"
        "'pools':{'p':{}}}";
    json_t *value;
    scoped(buf_free) Buf json = {0};
    for (const char *at = text; *at != 0; at++)
        buf_add_byte(&json, *at == '\'' ? '"' : (uint8_t)*at);
    value = parse(buf_cstr(&json));
    json_t *diff = fleet_diff(value, value);
    assert_true(fleet_diff_empty(diff));
    assert_int_equal(json_integer_value(json_object_get(diff, "unchanged")), 1);
    json_decref(diff);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_come_go_and_stay_in_order_of_their_names),
        cmocka_unit_test(without_a_policy_before_everything_is_added),
        cmocka_unit_test(a_changed_source_says_which_member_was_what),
        cmocka_unit_test(a_record_that_comes_is_told_member_by_member),
        cmocka_unit_test(lists_of_records_are_compared_place_by_place),
        cmocka_unit_test(other_lists_are_compared_as_wholes),
        cmocka_unit_test(null_and_absent_and_of_another_shape_are_changes),
        cmocka_unit_test(what_is_merged_into_sources_is_not_told_twice),
        cmocka_unit_test(files_that_say_the_same_in_other_words_are_told),
        cmocka_unit_test(the_same_is_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
