/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Every statement with its line, or the error, one a line; `step` bytes at a time. */
static void taken(const char *text, size_t step, bool conforming, Buf *out)
{
    Err err = {0};
    PostgresqlScript *script = postgresql_script_new();
    size_t len = strlen(text), at = 0;
    bool fine = true, whole = false;
    while (fine && at < len) {
        size_t used = 0, some = len - at < step ? len - at : step;
        fine = postgresql_script_take(script, (Slice){(const uint8_t *)text + at, some}, conforming,
                                      &used, &whole, &err);
        at += used;
        if (fine && whole)
            buf_printf(out, "%d%s %s|", (int)postgresql_script_line(script),
                       postgresql_script_copies(script) ? "*" : "",
                       postgresql_script_statement(script));
    }
    fine = fine && postgresql_script_end(script, &whole, &err);
    if (fine && whole)
        buf_printf(out, "%d %s|", (int)postgresql_script_line(script),
                   postgresql_script_statement(script));
    if (!fine)
        buf_printf(out, "! %.*s", (int)strcspn(err.text, ":"), err.text);
    postgresql_script_free(script);
}

static void gives_as(const char *text, bool conforming, const char *expected)
{
    for (size_t step = 1; step < 70; step += step < 9 ? 1 : 15) {
        scoped(buf_free) Buf out = {0};
        taken(text, step, conforming, &out);
        assert_string_equal(buf_cstr(&out), expected);
    }
}

static void gives(const char *text, const char *expected)
{
    gives_as(text, true, expected);
}

static void statements_end_at_their_semicolons(void **state)
{
    (void)state;
    gives("", "");
    gives(" ;;\n; -- nothing\n/* ; */", "");
    gives("SELECT 1;SELECT 2;\n", "1 SELECT 1;|1 SELECT 2;|");
    gives("-- a\n\nSELECT\n1;\n\n/* b */ SELECT 2", "3 SELECT\n1;|6 SELECT 2|");
    gives("SELECT 1 - 1; -1;", "1 SELECT 1 - 1;|1 -1;|");
    gives("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3;",
          "1 CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);|1 SELECT 3;|");
    gives("SELECT 1 -- ; no\n;SELECT /* ; /* ; */ ' */ 2;",
          "1 SELECT 1 -- ; no\n;|2 SELECT /* ; /* ; */ ' */ 2;|");
    gives("--a\rSELECT 1;", "1 SELECT 1;|");
}

static void quotes_hide_what_is_in_them(void **state)
{
    (void)state;
    gives("SELECT 'a;b''c;--', \"x;\"\"y\"; SELECT ';';",
          "1 SELECT 'a;b''c;--', \"x;\"\"y\";|1 SELECT ';';|");
    gives("SELECT '\\'; SELECT 2;", "1 SELECT '\\';|1 SELECT 2;|");
    gives_as("SELECT '\\'; SELECT 2';", false, "1 SELECT '\\'; SELECT 2';|");
    gives("SELECT E'\\'; ''\\';', e'\\\\'; SELECT 2;",
          "1 SELECT E'\\'; ''\\';', e'\\\\';|1 SELECT 2;|");
    gives("SELECT E'a'\n  '\\';'; SELECT U&'\\0041';",
          "1 SELECT E'a'\n  '\\';';|2 SELECT U&'\\0041';|");
    gives("SELECT name'\\'; SELECT 1;", "1 SELECT name'\\';|1 SELECT 1;|");
    gives("SELECT $$;'$$, $a$;$$;$b$;$a$; SELECT $1;",
          "1 SELECT $$;'$$, $a$;$$;$b$;$a$;|1 SELECT $1;|");
    gives("SELECT a$b, c$$; SELECT $_ä1$ $_ä $ $_ä1$;",
          "1 SELECT a$b, c$$;|1 SELECT $_ä1$ $_ä $ $_ä1$;|");
}

static void bodies_of_functions_hide_their_statements(void **state)
{
    (void)state;
    gives("CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true "
          "THEN 1 END; END; SELECT 2;",
          "1 CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN "
          "true THEN 1 END; END;|1 SELECT 2;|");
    gives("BEGIN; SELECT 1; END;", "1 BEGIN;|1 SELECT 1;|1 END;|");
}

static void rows_follow_a_copy_from_stdin(void **state)
{
    (void)state;
    gives("COPY public.a (x, \"from\") FROM stdin;", "1* COPY public.a (x, \"from\") FROM stdin;|");
    gives("copy a from STDIN with (format csv);", "1* copy a from STDIN with (format csv);|");
    gives("COPY a FROM '/etc/passwd';", "! line 1");
    gives("COPY a (from_stdin) FROM PROGRAM 'id';", "! line 1");
    gives("\nCOPY (SELECT 1 FROM stdin) TO\n'/tmp/x';", "! line 2");
}

static void no_command_of_psql_is_done(void **state)
{
    (void)state;
    gives("\\restrict abc\nSELECT 1;\n\\unrestrict abc\n", "2 SELECT 1;|");
    gives("SELECT 1;\n\\! touch /tmp/x\n", "1 SELECT 1;|! line 2");
    gives("\\copy a from '/etc/passwd'", "! line 1");
    gives("\n\n\\connect other\n", "! line 3");
    gives("SELECT 1 \\gexec\n", "! line 1");
    gives("SELECT 1 \\; SELECT 2;\n", "! line 1");
    gives("\\restrictx\n", "! line 1");
    gives("/* \\! id */ -- \\! id\nSELECT '\\! id', $$\\! id$$;",
          "2 SELECT '\\! id', $$\\! id$$;|");
}

static void what_acts_on_the_server_is_refused(void **state)
{
    (void)state;
    gives("SELECT 1; CREATE DATABASE x;", "1 SELECT 1;|! line 1");
    gives("\n drop\n role x;", "! line 2");
    gives("ALTER SYSTEM SET a = 1;", "! line 1");
    gives("CREATE USER x;", "! line 1");
    gives("CREATE USER MAPPING FOR x SERVER y;", "1 CREATE USER MAPPING FOR x SERVER y;|");
    gives("PREPARE TRANSACTION 'x';", "! line 1");
    gives("PREPARE x AS SELECT 1;", "1 PREPARE x AS SELECT 1;|");
}

static void a_file_that_was_cut_is_told(void **state)
{
    (void)state;
    gives("SELECT 1;\nSELECT 'a\n", "1 SELECT 1;|! line 3");
    gives("SELECT (1;\n", "! line 2");
    gives("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", "! line 1");
    gives("/* a", "! line 1");
    gives("SELECT $a$ $b$", "! line 1");
    gives("SELECT \"a", "! line 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_end_at_their_semicolons),
        cmocka_unit_test(quotes_hide_what_is_in_them),
        cmocka_unit_test(bodies_of_functions_hide_their_statements),
        cmocka_unit_test(rows_follow_a_copy_from_stdin),
        cmocka_unit_test(no_command_of_psql_is_done),
        cmocka_unit_test(what_acts_on_the_server_is_refused),
        cmocka_unit_test(a_file_that_was_cut_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
