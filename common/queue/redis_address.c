/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_address.h"

#include "common/base/mem.h"

static const uint16_t SERVER_PORT = 6379;
static const uint16_t SENTINEL_PORT = 26379;

static bool invalid(Err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "queue.address",
                   "the Redis address %s; write redis://host:6379/0, rediss://…, "
                   "unix:///path or redis+sentinel://s1,s2/NAME",
                   what);
}

/* Cuts what stands before the first `mark` off *rest; the whole of it when there is none. */
static Text cut(Text *rest, char mark, bool *found)
{
    const char *at = rest->len == 0 ? NULL : memchr(rest->at, mark, rest->len);
    *found = at != NULL;
    Text head = {rest->at, at == NULL ? rest->len : (size_t)(at - rest->at)};
    size_t used = head.len + (*found ? 1 : 0);
    *rest = (Text){rest->at + used, rest->len - used};
    return head;
}

static bool number(Text text, unsigned long most, unsigned long *out)
{
    unsigned long value = 0;
    if (text.len == 0 || text.len > 6)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(text.at[i] - '0');
    }
    *out = value;
    return value <= most;
}

static bool parse_host(Text text, uint16_t port, RedisHost *out, Err *err)
{
    bool found = false;
    Text host;
    Text rest = text;
    if (text.len > 0 && text.at[0] == '[') {
        rest = (Text){text.at + 1, text.len - 1};
        host = cut(&rest, ']', &found);
        if (!found || (rest.len > 0 && rest.at[0] != ':'))
            return invalid(err, "has an unfinished [IPv6] host");
        found = rest.len > 0;
        if (found)
            rest = (Text){rest.at + 1, rest.len - 1};
    } else {
        host = cut(&rest, ':', &found);
    }
    unsigned long value = port;
    if (host.len == 0)
        return invalid(err, "names no host");
    if (found && (!number(rest, 65535, &value) || value == 0))
        return invalid(err, "has no valid port (an IPv6 host stands in brackets)");
    out->host = mem_text(host);
    out->port = (uint16_t)value;
    return true;
}

static bool parse_user(Text *rest, RedisAddress *out, Err *err)
{
    bool found = false;
    Text tail = *rest;
    Text user = cut(&tail, '@', &found);
    if (!found)
        return true;
    *rest = tail;
    if (user.len > 0 && memchr(user.at, ':', user.len) != NULL)
        return invalid(err, "carries a password; name it by redis_password instead");
    if (user.len > 0)
        out->user = mem_text(user);
    return true;
}

static bool parse_database(Text text, RedisAddress *out, Err *err)
{
    unsigned long value = 0;
    if (text.len > 0 && !number(text, 65535, &value))
        return invalid(err, "has a database that is no number");
    out->database = (unsigned)value;
    return true;
}

static bool parse_socket(Text rest, RedisAddress *out, Err *err)
{
    bool query = false;
    Text path = cut(&rest, '?', &query);
    if (path.len < 2 || path.at[0] != '/')
        return invalid(err, "names no absolute socket path");
    out->socket_path = mem_text(path);
    if (!query)
        return true;
    if (rest.len < 3 || memcmp(rest.at, "db=", 3) != 0)
        return invalid(err, "has an unknown option; only ?db=N is known for sockets");
    return parse_database((Text){rest.at + 3, rest.len - 3}, out, err);
}

static bool parse_hosts(Text rest, bool sentinel, RedisAddress *out, Err *err)
{
    bool slash = false;
    bool comma = true;
    Text hosts = cut(&rest, '/', &slash);
    while (comma) {
        if (out->host_count == (sentinel ? REDIS_HOSTS_MAX : 1))
            return invalid(err, sentinel ? "names more than 8 sentinels" : "names two servers");
        Text host = cut(&hosts, ',', &comma);
        RedisHost *at = &out->hosts[out->host_count];
        if (!parse_host(host, sentinel ? SENTINEL_PORT : SERVER_PORT, at, err))
            return false;
        out->host_count++;
    }
    if (sentinel) {
        Text master = cut(&rest, '/', &slash);
        if (master.len == 0)
            return invalid(err, "does not say which master the sentinels watch");
        out->master = mem_text(master);
    }
    return parse_database(rest, out, err);
}

static bool parse(Text url, RedisAddress *out, Err *err)
{
    static const struct {
        const char *scheme;
        bool tls, socket, sentinel;
    } schemes[] = {
        {"redis://", false, false, false},         {"rediss://", true, false, false},
        {"unix://", false, true, false},           {"redis+sentinel://", false, false, true},
        {"rediss+sentinel://", true, false, true},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        Text scheme = text_of(schemes[i].scheme);
        if (url.len < scheme.len || memcmp(url.at, scheme.at, scheme.len) != 0)
            continue;
        Text rest = {url.at + scheme.len, url.len - scheme.len};
        out->tls = schemes[i].tls;
        if (!parse_user(&rest, out, err))
            return false;
        return schemes[i].socket ? parse_socket(rest, out, err)
                                 : parse_hosts(rest, schemes[i].sentinel, out, err);
    }
    return invalid(err, "has an unknown scheme");
}

bool redis_address_parse(Text url, RedisAddress *out, Err *err)
{
    *out = (RedisAddress){0};
    if (url.len > 0 && memchr(url.at, '\0', url.len) != NULL)
        return invalid(err, "holds a NUL byte");
    if (parse(url, out, err))
        return true;
    redis_address_free(out);
    return false;
}

void redis_address_free(RedisAddress *address)
{
    for (size_t i = 0; i < address->host_count; i++)
        mem_free(address->hosts[i].host);
    mem_free(address->socket_path);
    mem_free(address->master);
    mem_free(address->user);
    *address = (RedisAddress){0};
}
