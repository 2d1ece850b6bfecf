/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_toc.h"

#include "common/base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum Kind {
    KIND_OTHER,    /* taken when something chosen depends on it */
    KIND_RELATION, /* the same, but never for the sake of what merely hangs on a table */
    KIND_HANGS,    /* hangs on what it depends on */
    KIND_FOREIGN,  /* a foreign key: only between tables that are chosen with their rows */
} Kind;

typedef struct Item {
    unsigned id;
    Kind kind;
    bool seed, taken;
    Text line, oid;
    unsigned *needs; /* ids */
    size_t need_count;
} Item;

typedef struct Toc {
    Item *items;
    size_t count, room;
    Item **by_id; /* index: id */
    size_t ids;
} Toc;

static const struct {
    const char *word;
    Kind kind;
} words[] = {
    /* longer ones first: the first match counts */
    {"MATERIALIZED VIEW DATA ", KIND_OTHER},
    {"MATERIALIZED VIEW ", KIND_RELATION},
    {"FOREIGN TABLE ", KIND_RELATION},
    {"VIEW ", KIND_RELATION},
    {"TABLE ATTACH ", KIND_HANGS},
    {"TABLE ", KIND_RELATION},
    {"SEQUENCE OWNED BY ", KIND_HANGS},
    {"SEQUENCE ", KIND_HANGS},
    {"FK CONSTRAINT ", KIND_FOREIGN},
    {"CHECK CONSTRAINT ", KIND_HANGS},
    {"CONSTRAINT ", KIND_HANGS},
    {"INDEX ATTACH ", KIND_HANGS},
    {"INDEX ", KIND_HANGS},
    {"DEFAULT ACL ", KIND_OTHER},
    {"DEFAULT ", KIND_HANGS},
    {"TRIGGER ", KIND_HANGS},
    {"RULE ", KIND_HANGS},
    {"POLICY ", KIND_HANGS},
    {"ROW SECURITY ", KIND_HANGS},
    {"STATISTICS ", KIND_HANGS},
    {"ACL ", KIND_HANGS},
    {"COMMENT ", KIND_HANGS},
    {"SECURITY LABEL ", KIND_HANGS},
};

static Kind kind_of(Text rest)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (rest.len >= strlen(words[i].word) &&
            memcmp(rest.at, words[i].word, strlen(words[i].word)) == 0)
            return words[i].kind;
    return KIND_OTHER;
}

/* "219; 1259 16633 TABLE public plain postgres": NUL-terminated, as the whole print is. */
static void add_item(Toc *toc, Text line)
{
    char *end;
    Item item = {.line = line, .id = (unsigned)strtoul(line.at, &end, 10)};
    if (*end != ';')
        return;
    unsigned long class = strtoul(end + 1, &end, 10);
    while (*end == ' ')
        end++;
    size_t digits = strspn(end, "0123456789");
    const char *rest = end + digits;
    if (rest >= line.at + line.len)
        return;
    item.kind = kind_of((Text){rest + 1, (size_t)(line.at + line.len - rest - 1)});
    if (class == 1259 && item.kind == KIND_RELATION) /* pg_class */
        item.oid = (Text){end, digits};
    if (toc->count == toc->room) {
        toc->room = toc->room == 0 ? 256 : 2 * toc->room;
        toc->items = mem_resize(toc->items, toc->room * sizeof *toc->items);
    }
    toc->items[toc->count++] = item;
    if (item.id >= toc->ids)
        toc->ids = (size_t)item.id + 1;
}

static void add_needs(Item *item, Text line)
{
    const char *at = memchr(line.at, ':', line.len);
    const char *end = line.at + line.len;
    for (at = at == NULL ? end : at + 1; at < end;) {
        char *after;
        unsigned id = (unsigned)strtoul(at, &after, 10);
        if (after == at || after > end)
            break;
        item->needs = mem_resize(item->needs, (item->need_count + 1) * sizeof *item->needs);
        item->needs[item->need_count++] = id;
        at = after;
    }
}

static void read_toc(Toc *toc, Text printed)
{
    static const char depends[] = ";\tdepends on:";
    for (size_t start = 0; start < printed.len;) {
        const char *at = printed.at + start;
        const char *newline = memchr(at, '\n', printed.len - start);
        size_t len = newline == NULL ? printed.len - start : (size_t)(newline - at);
        if (isdigit((unsigned char)*at))
            add_item(toc, (Text){at, len});
        else if (toc->count > 0 && len > sizeof depends &&
                 memcmp(at, depends, sizeof depends - 1) == 0)
            add_needs(&toc->items[toc->count - 1], (Text){at, len});
        start += len + 1;
    }
    toc->by_id = mem_array(Item *, toc->ids);
    for (size_t i = 0; i < toc->count; i++)
        toc->by_id[toc->items[i].id] = &toc->items[i];
}

static Item *item_of(const Toc *toc, unsigned id)
{
    return id < toc->ids ? toc->by_id[id] : NULL;
}

static bool take_with_needs(const Toc *toc, Item *item)
{
    if (item->taken)
        return false;
    item->taken = true;
    for (size_t i = 0; i < item->need_count; i++) {
        Item *need = item_of(toc, item->needs[i]);
        if (need != NULL)
            take_with_needs(toc, need);
    }
    return true;
}

/* Would taking it bring a relation that nobody asked for? Depth is bounded by the archive: what
 * hangs on a table needs other such things at most a few levels deep. */
static bool needs_stranger(const Toc *toc, const Item *item, bool rows, unsigned depth)
{
    for (size_t i = 0; i < item->need_count; i++) {
        const Item *need = item_of(toc, item->needs[i]);
        if (need == NULL || need == item)
            continue;
        if (need->kind == KIND_RELATION && (!need->taken || (rows && !need->seed)))
            return true;
        if (!need->taken && (depth > 16 || needs_stranger(toc, need, rows, depth + 1)))
            return true;
    }
    return false;
}

static bool hangs_on_taken(const Toc *toc, const Item *item)
{
    for (size_t i = 0; i < item->need_count; i++) {
        const Item *need = item_of(toc, item->needs[i]);
        if (need != NULL && need->taken)
            return true;
    }
    return false;
}

static size_t take_hanging(const Toc *toc)
{
    size_t left_out = 0;
    bool more = true;
    while (more) {
        more = false;
        left_out = 0;
        for (size_t i = 0; i < toc->count; i++) {
            Item *item = &toc->items[i];
            if (item->taken || (item->kind != KIND_HANGS && item->kind != KIND_FOREIGN) ||
                !hangs_on_taken(toc, item))
                continue;
            if (needs_stranger(toc, item, item->kind == KIND_FOREIGN, 0))
                left_out++;
            else
                more |= take_with_needs(toc, item);
        }
    }
    return left_out;
}

static bool take_tables(const Toc *toc, const Text *oids, size_t count, Err *err)
{
    for (size_t k = 0; k < count; k++) {
        bool found = false;
        for (size_t i = 0; i < toc->count && !found; i++) {
            Item *item = &toc->items[i];
            found = item->oid.len > 0 && text_equal(item->oid, oids[k]);
            if (found) {
                item->seed = true;
                take_with_needs(toc, item);
            }
        }
        if (!found)
            return err_set(err, ERR_MISSING, "target.table",
                           "the schema archive has no table with oid %.*s; restore the whole "
                           "database instead",
                           TEXT_ARG(oids[k]));
    }
    return true;
}

bool postgresql_toc_choose(Text printed, const Text *table_oids, size_t count, Buf *list,
                           size_t *left_out, Err *err)
{
    Toc toc = {0};
    read_toc(&toc, printed);
    bool ok = take_tables(&toc, table_oids, count, err);
    if (ok)
        *left_out = take_hanging(&toc);
    for (size_t i = 0; i < toc.count; i++) {
        if (ok && toc.items[i].taken) {
            buf_add_text(list, toc.items[i].line);
            buf_add_byte(list, '\n');
        }
        mem_free(toc.items[i].needs);
    }
    mem_free(toc.items);
    mem_free(toc.by_id);
    return ok;
}
