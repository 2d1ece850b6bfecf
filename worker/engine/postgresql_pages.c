/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_pages.h"

#include "common/base/mem.h"
#include "worker/engine/postgresql_sum.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

enum { BLOCKS_NAMED = 8, PAGE_MOST = 32768, SHARED_SPACE = 1664 };

typedef struct Suspect {
    char *path, *told;             /* told: as the server names it in its complaints */
    uint32_t blocks[BLOCKS_NAMED]; /* of the file, as the server counts in its own complaints */
    uint64_t count;
} Suspect;

struct PostgresqlPages {
    uint32_t page; /* bytes; 0: the cluster has no checksums */
    uint64_t relation, start;
    Suspect *suspects;
    size_t count, room;
    bool relation_file, suspected; /* of the current file */
    uint64_t first, at;            /* its first block in the relation; pages seen */
    Buf path, told, carry;         /* carry: of a page whose bytes are not all here */
};

PostgresqlPages *postgresql_pages_new(const PostgresqlSystem *system, uint64_t start)
{
    PostgresqlPages *pages = mem_new(PostgresqlPages);
    bool possible = system->page > 0 && system->page <= PAGE_MOST && system->page % 128 == 0;
    pages->page = system->checksums && possible ? system->page : 0;
    pages->relation = system->relation;
    pages->start = start;
    return pages;
}

void postgresql_pages_free(PostgresqlPages *pages)
{
    if (pages == NULL)
        return;
    for (size_t i = 0; i < pages->count; i++) {
        mem_free(pages->suspects[i].path);
        mem_free(pages->suspects[i].told);
    }
    mem_free(pages->suspects);
    buf_free(&pages->path);
    buf_free(&pages->told);
    buf_free(&pages->carry);
    mem_free(pages);
}

static size_t digits(const char *at, size_t len)
{
    size_t count = 0;
    while (count < len && isdigit((unsigned char)at[count]))
        count++;
    return count;
}

/* "16384", "16384_fsm", "16384.1": the number behind the point is the file's. */
static bool relation_name(const char *at, size_t len, uint64_t *number)
{
    static const char *const forks[] = {"_fsm", "_vm", "_init"};
    size_t from = digits(at, len);
    *number = 0;
    if (from == 0)
        return false;
    for (size_t i = 0; i < sizeof forks / sizeof *forks; i++) {
        size_t fork = strlen(forks[i]);
        if (len - from >= fork && memcmp(at + from, forks[i], fork) == 0) {
            from += fork;
            break;
        }
    }
    if (from == len)
        return true;
    if (at[from] != '.' || digits(at + from + 1, len - from - 1) != len - from - 1 ||
        len - from - 1 == 0 || len - from - 1 > 9)
        return false;
    for (from++; from < len; from++)
        *number = *number * 10 + (uint64_t)(at[from] - '0');
    return true;
}

bool postgresql_pages_relation(Text path, uint64_t *number)
{
    const char *name = path.at + path.len;
    size_t parts = 1;
    for (size_t i = 0; i < path.len; i++)
        parts += path.at[i] == '/';
    while (name > path.at && name[-1] != '/')
        name--;
    bool placed = (parts == 2 && path.len > 7 && memcmp(path.at, "global/", 7) == 0) ||
                  (parts == 3 && path.len > 5 && memcmp(path.at, "base/", 5) == 0) ||
                  (parts == 5 && path.len > 10 && memcmp(path.at, "pg_tblspc/", 10) == 0);
    return placed && relation_name(name, (size_t)(path.at + path.len - name), number);
}

/* "pg_tblspc/16384/PG_15_202209061/5/16390": behind the second slash lies what the tablespace has.
 */
static void take_told(PostgresqlPages *pages, Text path, Text location)
{
    size_t from = 0;
    for (unsigned slashes = 0; location.len > 0 && from < path.len && slashes < 2; from++)
        slashes += path.at[from] == '/';
    buf_clear(&pages->told);
    if (location.len > 0) {
        buf_add_text(&pages->told, location);
        buf_add_byte(&pages->told, '/');
    }
    buf_add_text(&pages->told, (Text){path.at + from, path.len - from});
}

void postgresql_pages_begin(PostgresqlPages *pages, Text path, Text location)
{
    uint64_t number = 0;
    pages->relation_file = pages->page > 0 && postgresql_pages_relation(path, &number);
    pages->suspected = false;
    pages->first = pages->page == 0 ? 0 : number * (pages->relation / pages->page);
    pages->at = 0;
    buf_clear(&pages->carry);
    buf_clear(&pages->path);
    buf_add_text(&pages->path, path);
    take_told(pages, path, location);
}

static void suspect(PostgresqlPages *pages)
{
    if (!pages->suspected) {
        if (pages->count == pages->room) {
            pages->room = pages->room == 0 ? 8 : pages->room * 2;
            pages->suspects = mem_resize(pages->suspects, pages->room * sizeof *pages->suspects);
        }
        pages->suspects[pages->count++] = (Suspect){.path = mem_text(buf_text(&pages->path)),
                                                    .told = mem_text(buf_text(&pages->told))};
        pages->suspected = true;
    }
    Suspect *one = &pages->suspects[pages->count - 1];
    if (one->count < BLOCKS_NAMED)
        one->blocks[one->count] = (uint32_t)pages->at;
    one->count++;
}

static void look(PostgresqlPages *pages, const uint8_t *page)
{
    if (postgresql_sum_page(page, pages->page, (uint32_t)(pages->first + pages->at),
                            pages->start) == POSTGRESQL_PAGE_WRONG)
        suspect(pages);
    pages->at++;
}

void postgresql_pages_add(PostgresqlPages *pages, Slice bytes)
{
    while (pages->relation_file && bytes.len > 0) {
        if (pages->carry.len == 0 && bytes.len >= pages->page) {
            look(pages, bytes.at);
            bytes = (Slice){bytes.at + pages->page, bytes.len - pages->page};
            continue;
        }
        size_t lack = pages->page - pages->carry.len;
        size_t part = bytes.len < lack ? bytes.len : lack;
        buf_add(&pages->carry, bytes.at, part);
        bytes = (Slice){bytes.at + part, bytes.len - part};
        if (pages->carry.len == pages->page) {
            look(pages, pages->carry.at);
            buf_clear(&pages->carry);
        }
    }
}

/* A file may end within a page: the server is just making it longer, and the log has the page. */
void postgresql_pages_end(PostgresqlPages *pages)
{
    pages->relation_file = false;
}

/* In whatever language the server complains, it names the file. */
static bool named_in(Text notices, const char *path)
{
    size_t len = strlen(path);
    const char *at = notices.at, *end = notices.at + notices.len;
    while (at != NULL && (at = memmem(at, (size_t)(end - at), path, len)) != NULL) {
        at += len;
        if (at == end || (!isalnum((unsigned char)*at) && *at != '.' && *at != '_'))
            return true;
    }
    return false;
}

/* The path says which relation of which database it is, but not its name: nothing here speaks SQL.
 */
static void add_next(Buf *text, const char *path)
{
    uint64_t database = 0, space = 0, relation = 0;
    if (sscanf(path, "global/%" SCNu64, &relation) == 1)
        space = SHARED_SPACE;
    else if (sscanf(path, "base/%" SCNu64 "/%" SCNu64, &database, &relation) != 2 &&
             sscanf(path, "pg_tblspc/%" SCNu64 "/%*[^/]/%" SCNu64 "/%" SCNu64, &space, &database,
                    &relation) != 3)
        return;
    buf_printf(text, "; next: SELECT pg_filenode_relation(%" PRIu64 ", %" PRIu64 ")", space,
               relation);
    if (database > 0)
        buf_printf(text, " in the database with the oid %" PRIu64, database);
    buf_printf(text, " names it: REINDEX an index, restore a table from an earlier backup");
}

static void tell(const Suspect *one, const EngineHost *host)
{
    scoped(buf_free) Buf text = {0};
    buf_printf(&text, "%" PRIu64 " corrupt page%s: the checksum of block", one->count,
               one->count == 1 ? "" : "s");
    for (size_t i = 0; i < one->count && i < BLOCKS_NAMED; i++)
        buf_printf(&text, "%s %" PRIu32, i == 0 ? "" : ",", one->blocks[i]);
    buf_printf(&text, "%s is wrong; what is stored is what the server has",
               one->count > BLOCKS_NAMED ? " and others" : "");
    add_next(&text, one->path);
    Issue issue = {ISSUE_IO, 0, text_of(one->path), buf_text(&text)};
    host->issue(host->ctx, &issue);
}

void postgresql_pages_judge(const PostgresqlPages *pages, bool corrupt, Text notices,
                            const EngineHost *host, uint64_t *wrong)
{
    *wrong = 0;
    if (!corrupt)
        return;
    for (size_t i = 0; i < pages->count; i++)
        if (named_in(notices, pages->suspects[i].told)) {
            tell(&pages->suspects[i], host);
            *wrong += pages->suspects[i].count;
        }
    if (*wrong > 0)
        return;
    size_t line = notices.len == 0 ? 0 : strcspn(notices.at, "\n");
    Issue issue = {ISSUE_IO, 0, TEXT("base"),
                   line > 0 ? (Text){notices.at, line}
                            : TEXT("the server found pages with wrong checksums; see its log")};
    host->issue(host->ctx, &issue);
    *wrong = 1;
}
