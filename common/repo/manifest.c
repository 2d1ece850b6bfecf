/* SPDX-License-Identifier: Apache-2.0
 * manifest.c — manifest roots and issues. */
#include "common/repo/manifest.h"

enum {
    KEY_FORMAT = 1,
    KEY_BACKUP = 2,
    KEY_SOURCE = 3,
    KEY_SEQUENCE = 4,
    KEY_PARENT = 5,
    KEY_PARENT_MANIFEST = 6,
    KEY_CONSISTENT = 7,
    KEY_POSITION = 8,
    KEY_DETAILS = 9,
    KEY_LEVELS = 10,
    KEY_PAGES = 11,
    KEY_ENTRIES = 12,
    KEY_BYTES = 13,
    KEY_ISSUES = 14,
    KEY_ISSUE_PAGES = 15,
    KEY_LAST_PHASE = 16,
    KEY_INDEX = 17,
    KEY_NEW_BYTES = 18,
    KEY_STORED_BYTES = 19,
    KEY_JOB = 20,
    KEY_ATTEMPT = 21,
    KEY_SCHEDULE = 22,
    KEY_SLOT = 23,
    KEY_POLICY = 24,
    KEY_TYPE = 25,
    KEY_FAULTS = 26,
    KEY_STARTED = 27,
    KEY_WRITTEN = 28,
};

static void add_uint(Buf *out, uint32_t *fields, uint64_t key, uint64_t value)
{
    canon_uint(out, key);
    canon_uint(out, value);
    (*fields)++;
}

static void add_bin(Buf *out, uint32_t *fields, uint64_t key, Slice value)
{
    canon_uint(out, key);
    canon_bin(out, value);
    (*fields)++;
}

static void add_items(Buf *out, uint32_t *fields, uint64_t key, uint32_t count, Slice items)
{
    canon_uint(out, key);
    canon_array(out, count);
    buf_add_slice(out, items);
    (*fields)++;
}

/* Fields that are absent when there is nothing to say. */
static void may_add_uint(Buf *out, uint32_t *fields, uint64_t key, uint64_t value)
{
    if (value != 0)
        add_uint(out, fields, key, value);
}

static void may_add_text(Buf *out, uint32_t *fields, uint64_t key, Text value)
{
    if (value.len > 0)
        add_bin(out, fields, key, slice_of_text(value));
}

static void may_add_int(Buf *out, uint32_t *fields, uint64_t key, int64_t value)
{
    if (value == 0)
        return;
    canon_uint(out, key);
    canon_int(out, value);
    (*fields)++;
}

static void add_origin(Buf *out, uint32_t *fields, const ManifestOrigin *origin)
{
    may_add_uint(out, fields, KEY_JOB, origin->job);
    may_add_uint(out, fields, KEY_ATTEMPT, origin->attempt);
    may_add_text(out, fields, KEY_SCHEDULE, origin->schedule);
    may_add_int(out, fields, KEY_SLOT, origin->slot_ns);
    may_add_text(out, fields, KEY_POLICY, origin->policy);
    may_add_text(out, fields, KEY_TYPE, origin->type);
    may_add_uint(out, fields, KEY_FAULTS, origin->faults);
    may_add_int(out, fields, KEY_STARTED, origin->started_ns);
    may_add_int(out, fields, KEY_WRITTEN, origin->written_ns);
}

void manifest_add(Buf *out, const Manifest *m)
{
    scoped(buf_free) Buf body = {0};
    uint32_t fields = 0;
    add_uint(&body, &fields, KEY_FORMAT, MANIFEST_FORMAT);
    add_bin(&body, &fields, KEY_BACKUP, (Slice){m->backup.bytes, sizeof m->backup.bytes});
    add_bin(&body, &fields, KEY_SOURCE, slice_of_text(m->source));
    add_uint(&body, &fields, KEY_SEQUENCE, m->sequence);
    if (m->has_parent) {
        add_bin(&body, &fields, KEY_PARENT, (Slice){m->parent.bytes, sizeof m->parent.bytes});
        add_bin(&body, &fields, KEY_PARENT_MANIFEST,
                (Slice){m->parent_manifest.bytes, sizeof m->parent_manifest.bytes});
    }
    canon_uint(&body, KEY_CONSISTENT);
    canon_int(&body, m->consistent_ns);
    fields++;
    add_bin(&body, &fields, KEY_POSITION, slice_of_text(m->position));
    add_bin(&body, &fields, KEY_DETAILS, slice_of_text(m->details));
    add_uint(&body, &fields, KEY_LEVELS, m->levels);
    add_items(&body, &fields, KEY_PAGES, m->ref_count, m->refs);
    add_uint(&body, &fields, KEY_ENTRIES, m->entries);
    add_uint(&body, &fields, KEY_BYTES, m->bytes);
    add_uint(&body, &fields, KEY_ISSUES, m->issues);
    add_items(&body, &fields, KEY_ISSUE_PAGES, m->issue_page_count, m->issue_pages);
    add_uint(&body, &fields, KEY_LAST_PHASE, m->last_phase);
    add_bin(&body, &fields, KEY_INDEX, (Slice){m->index.bytes, sizeof m->index.bytes});
    add_uint(&body, &fields, KEY_NEW_BYTES, m->new_bytes);
    add_uint(&body, &fields, KEY_STORED_BYTES, m->stored_bytes);
    add_origin(&body, &fields, &m->origin);
    canon_map(out, fields);
    buf_add_slice(out, buf_slice(&body));
}

static void read_refs(CanonReader *r, Manifest *m)
{
    m->ref_count = canon_read_array(r);
    const uint8_t *from = r->at;
    for (uint32_t i = 0; i < m->ref_count && !r->bad; i++) {
        PageRef ref;
        if (!pages_read_ref(r, &ref))
            break;
    }
    m->refs = (Slice){from, r->bad ? 0 : (size_t)(r->at - from)};
}

static void read_issue_pages(CanonReader *r, Manifest *m)
{
    m->issue_page_count = canon_read_array(r);
    const uint8_t *from = r->at;
    for (uint32_t i = 0; i < m->issue_page_count && !r->bad; i++) {
        ChunkId id;
        canon_read_exact(r, id.bytes, sizeof id.bytes);
    }
    m->issue_pages = (Slice){from, r->bad ? 0 : (size_t)(r->at - from)};
}

static uint64_t limited(CanonReader *r, uint64_t value, uint64_t limit)
{
    if (value <= limit)
        return value;
    r->bad = true;
    return 0;
}

/* false: no field of an origin. */
static bool read_origin(CanonReader *r, uint64_t key, ManifestOrigin *origin)
{
    switch (key) {
    case KEY_JOB:
        origin->job = canon_read_uint(r);
        return true;
    case KEY_ATTEMPT:
        origin->attempt = canon_read_uint(r);
        return true;
    case KEY_SCHEDULE:
        origin->schedule = text_of_slice(canon_read_bin(r));
        return true;
    case KEY_SLOT:
        origin->slot_ns = canon_read_int(r);
        return true;
    case KEY_POLICY:
        origin->policy = text_of_slice(canon_read_bin(r));
        return true;
    case KEY_TYPE:
        origin->type = text_of_slice(canon_read_bin(r));
        return true;
    case KEY_FAULTS:
        origin->faults = canon_read_uint(r);
        return true;
    case KEY_STARTED:
        origin->started_ns = canon_read_int(r);
        return true;
    case KEY_WRITTEN:
        origin->written_ns = canon_read_int(r);
        return true;
    default:
        return false;
    }
}

static void read_number(CanonReader *r, uint64_t key, Manifest *m, uint64_t *format)
{
    uint64_t value = canon_read_uint(r);
    switch (key) {
    case KEY_FORMAT:
        *format = value;
        break;
    case KEY_SEQUENCE:
        m->sequence = value;
        break;
    case KEY_LEVELS:
        m->levels = (uint32_t)limited(r, value, PAGES_LEVELS);
        break;
    case KEY_ENTRIES:
        m->entries = value;
        break;
    case KEY_BYTES:
        m->bytes = value;
        break;
    case KEY_ISSUES:
        m->issues = value;
        break;
    case KEY_LAST_PHASE:
        m->last_phase = (uint8_t)limited(r, value, UINT8_MAX);
        break;
    case KEY_NEW_BYTES:
        m->new_bytes = value;
        break;
    default: /* KEY_STORED_BYTES */
        m->stored_bytes = value;
    }
}

static void read_field(CanonReader *r, uint64_t key, Manifest *m, uint64_t *format)
{
    switch (key) {
    case KEY_BACKUP:
        canon_read_exact(r, m->backup.bytes, sizeof m->backup.bytes);
        break;
    case KEY_SOURCE:
        m->source = text_of_slice(canon_read_bin(r));
        break;
    case KEY_PARENT:
        m->has_parent = canon_read_exact(r, m->parent.bytes, sizeof m->parent.bytes);
        break;
    case KEY_PARENT_MANIFEST:
        canon_read_exact(r, m->parent_manifest.bytes, sizeof m->parent_manifest.bytes);
        break;
    case KEY_CONSISTENT:
        m->consistent_ns = canon_read_int(r);
        break;
    case KEY_POSITION:
        m->position = text_of_slice(canon_read_bin(r));
        break;
    case KEY_DETAILS:
        m->details = text_of_slice(canon_read_bin(r));
        break;
    case KEY_PAGES:
        read_refs(r, m);
        break;
    case KEY_ISSUE_PAGES:
        read_issue_pages(r, m);
        break;
    case KEY_INDEX:
        canon_read_exact(r, m->index.bytes, sizeof m->index.bytes);
        break;
    default:
        if (key <= KEY_STORED_BYTES)
            read_number(r, key, m, format);
        else if (!read_origin(r, key, &m->origin))
            canon_skip(r); /* a field of a later release */
    }
}

bool manifest_read(Slice bytes, Manifest *out, Err *err)
{
    memset(out, 0, sizeof *out);
    CanonReader r = canon_reader(bytes);
    uint64_t format = 0, last = 0;
    uint32_t fields = canon_read_map(&r);
    for (uint32_t i = 0; i < fields && !r.bad; i++)
        read_field(&r, canon_read_key(&r, &last), out, &format);
    if (!r.bad && format > MANIFEST_FORMAT)
        return err_set(err, ERR_INVALID, "repo.newer_format",
                       "the manifest is of format %llu and this release reads %d: use a newer one",
                       (unsigned long long)format, MANIFEST_FORMAT);
    if (!canon_done(&r) || format == 0 || out->source.len > MANIFEST_SOURCE_MAX)
        return err_set(err, ERR_CORRUPT, "repo.bad_manifest",
                       "the manifest is not a valid record; restore another backup");
    return true;
}

void manifest_add_issue(Buf *out, const Issue *issue)
{
    canon_array(out, 4);
    canon_uint(out, issue->kind);
    canon_uint(out, issue->sys > 0 ? (uint64_t)issue->sys : 0);
    canon_text(out, issue->path);
    canon_text(out, issue->text);
}

bool manifest_read_issue(CanonReader *r, Issue *issue)
{
    memset(issue, 0, sizeof *issue);
    if (canon_read_array(r) != 4)
        r->bad = true;
    uint64_t kind = canon_read_uint(r), sys = canon_read_uint(r);
    issue->kind = (IssueKind)(kind & 0xff);
    issue->sys = (int)(sys & 0xffff);
    issue->path = text_of_slice(canon_read_bin(r));
    issue->text = text_of_slice(canon_read_bin(r));
    return !r->bad;
}
