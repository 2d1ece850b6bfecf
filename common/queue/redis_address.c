/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_address.h"

#include "common/base/mem.h"

static const uint16_t SERVER_PORT = 6379;
static const uint16_t SENTINEL_PORT = 26379;

static bool invalid(Err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "queue.address",
                   "the Redis address %s; write redis://host:6379/0, rediss://…, "
                   "unix:///path, redis+sentinel://s1,s2/NAME or redis+cluster://n1,n2",
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

typedef enum Kind { KIND_SERVER, KIND_SOCKET, KIND_SENTINEL, KIND_CLUSTER } Kind;

static bool parse_list(Text hosts, Kind kind, RedisAddress *out, Err *err)
{
    uint16_t port = kind == KIND_SENTINEL ? SENTINEL_PORT : SERVER_PORT;
    bool comma = true;
    while (comma) {
        if (out->host_count == (kind == KIND_SERVER ? 1 : REDIS_HOSTS_MAX))
            return invalid(err, kind == KIND_SERVER ? "names two servers" : "names more than 8");
        Text host = cut(&hosts, ',', &comma);
        if (!parse_host(host, port, &out->hosts[out->host_count], err))
            return false;
        out->host_count++;
    }
    return true;
}

static bool parse_hosts(Text rest, Kind kind, RedisAddress *out, Err *err)
{
    bool slash = false;
    Text hosts = cut(&rest, '/', &slash);
    out->cluster = kind == KIND_CLUSTER;
    if (!parse_list(hosts, kind, out, err))
        return false;
    if (kind == KIND_SENTINEL) {
        Text master = cut(&rest, '/', &slash);
        if (master.len == 0)
            return invalid(err, "does not say which master the sentinels watch");
        out->master = mem_text(master);
    }
    if (!parse_database(rest, out, err))
        return false;
    return out->database == 0 || !out->cluster ||
           invalid(err, "names a database, and a cluster has none but 0");
}

static bool parse(Text url, RedisAddress *out, Err *err)
{
    static const struct {
        const char *scheme;
        bool tls;
        Kind kind;
    } schemes[] = {
        {"redis://", false, KIND_SERVER},
        {"rediss://", true, KIND_SERVER},
        {"unix://", false, KIND_SOCKET},
        {"redis+sentinel://", false, KIND_SENTINEL},
        {"rediss+sentinel://", true, KIND_SENTINEL},
        {"redis+cluster://", false, KIND_CLUSTER},
        {"rediss+cluster://", true, KIND_CLUSTER},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        Text scheme = text_of(schemes[i].scheme);
        if (url.len < scheme.len || memcmp(url.at, scheme.at, scheme.len) != 0)
            continue;
        Text rest = {url.at + scheme.len, url.len - scheme.len};
        out->tls = schemes[i].tls;
        if (!parse_user(&rest, out, err))
            return false;
        return schemes[i].kind == KIND_SOCKET ? parse_socket(rest, out, err)
                                              : parse_hosts(rest, schemes[i].kind, out, err);
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
