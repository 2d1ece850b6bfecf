/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/base/units.h"
#include "common/catalog/catalog_view.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char TOKEN_PREFIX[] = "hf_";

enum { NAME_ROOM = sizeof((TokenRow *)0)->name, DAYS_MOST = 3650 };

/* A fresh token as text: the prefix lets scanners of leaked secrets find it. */
static void draw_token(char out[72])
{
    uint8_t random[32];
    rand_bytes(random, sizeof random);
    snprintf(out, sizeof TOKEN_PREFIX, "%s", TOKEN_PREFIX);
    ids_hex(random, sizeof random, out + sizeof TOKEN_PREFIX - 1);
    explicit_bzero(random, sizeof random);
}

static bool make_token(Catalog *catalog, Text name, Text role, int64_t expires_ns, Text actor,
                       char text[72], uint64_t *id, Err *err)
{
    Sha256 hash;
    draw_token(text);
    hash_sha256((Slice){(const uint8_t *)text, strlen(text)}, &hash);
    return catalog_token_create(catalog, name, role, &hash, expires_ns, actor, id, err);
}

bool api_bootstrap_token(Catalog *catalog, const char *path, bool *made, Err *err)
{
    static const int64_t YEAR_NS = 365ll * 86400 * 1000000000;
    char text[72];
    bool any;
    int64_t now_ns;
    uint64_t id;
    *made = false;
    if (!catalog_token_any(catalog, TEXT("admin"), &any, err))
        return false;
    if (any)
        return true;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "token.file", "writing %s", path);
    bool done = catalog_server_now(catalog, &now_ns, err) &&
                make_token(catalog, TEXT("admin"), TEXT("admin"), now_ns + YEAR_NS,
                           TEXT("scheduler"), text, &id, err);
    if (done && (fchmod(fd, 0600) != 0 || dprintf(fd, "%s\n", text) < 0 || fsync(fd) != 0))
        done = err_set_sys(err, ERR_IO, "token.file", "writing %s", path);
    explicit_bzero(text, sizeof text);
    close(fd);
    *made = done;
    return done;
}

/* A member that is there must be text: a number is no role, and null is not the usual one. */
static bool take_text(const ApiCall *call, const char *member, Text otherwise, Text *out, Err *err)
{
    const json_t *value = json_object_get(call->body, member);
    *out = value == NULL ? otherwise : json_text_or(call->body, member, (Text){0});
    return value == NULL || json_is_string(value) ||
           err_set(err, ERR_USAGE, "token.member", "%s must be text", member);
}

/* It is what the log of who did what calls its bearer: short, and of characters that print. */
static bool name_fits(Text name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.at[i] < 0x20 || name.at[i] == 0x7f)
            return false;
    return name.len != 0 && name.len < NAME_ROOM;
}

static bool lifetime_of(Text expires, int64_t *ms, Err *err)
{
    if (!units_duration_ms(expires, ms, err))
        return false;
    return (*ms >= 1000 && *ms / 86400000 <= DAYS_MOST) ||
           err_set(err, ERR_USAGE, "token.expires", "a token lives a second to %d days", DAYS_MOST);
}

bool api_token_create(ApiCall *call, Err *err)
{
    char text[72];
    char unnamed[32];
    char number[24];
    Text role;
    Text expires;
    Text name;
    int64_t now_ns;
    int64_t life_ms;
    uint64_t id;
    if (!take_text(call, "role", TEXT("viewer"), &role, err) ||
        !take_text(call, "expires", TEXT("90d"), &expires, err))
        return false;
    snprintf(unnamed, sizeof unnamed, "%.*s-%s", TEXT_ARG(role), call->http->request_id + 11);
    if (!take_text(call, "name", text_of(unnamed), &name, err))
        return false;
    if (!name_fits(name))
        return err_set(err, ERR_USAGE, "token.name", "a name is 1 to %d bytes of text",
                       NAME_ROOM - 1);
    if (!lifetime_of(expires, &life_ms, err) || !catalog_server_now(call->catalog, &now_ns, err) ||
        !make_token(call->catalog, name, role, now_ns + life_ms * 1000000,
                    text_of(call->token.name), text, &id, err))
        return false;
    snprintf(number, sizeof number, "tk_%" PRIu64, id);
    json_t *body = json_pack("{s:s, s:s%, s:s%, s:s}", "id", number, "name", name.at, name.len,
                             "role", role.at, role.len, "token", text);
    json_canonical(body, &call->answer->body);
    json_decref(body);
    explicit_bzero(text, sizeof text);
    call->answer->status = 201;
    return true;
}

bool api_token_revoke(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf reason = {0};
    api_query(call, "reason", &reason);
    if (!catalog_token_revoke(call->catalog, call->parts[0], text_of(call->token.name),
                              buf_text(&reason), err))
        return false;
    buf_printf(&call->answer->body, "{\"state\":\"revoked\"}");
    return true;
}
