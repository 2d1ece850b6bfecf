/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/queue/redis_reply.h"
#include "common/queue/redis_tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static const int64_t BACKOFF_FIRST_MS = 50;
static const int64_t BACKOFF_MOST_MS = 2000;
static const int64_t CONNECT_MS = 5000;
enum { ARGV_MOST = 4096 };

typedef enum Stage {
    STAGE_WAITING,    /* for the retry timer */
    STAGE_SENTINEL,   /* connecting to a sentinel, asking it */
    STAGE_CONNECTING, /* to the server, AUTH, SELECT */
    STAGE_READY,
} Stage;

typedef struct Pending Pending;
struct Pending {
    Pending *next;
    RedisDone *done;
    void *ctx;
    int64_t deadline_ms;
};

struct Redis {
    struct event_base *base;
    struct evdns_base *dns; /* made when a host name is first resolved */
    SSL_CTX *tls;
    RedisParams params;
    char *ca_file, *cert_file, *key_file;
    Stage stage;
    struct bufferevent *bev;
    redisReader *reader;
    RedisHost master; /* what a sentinel said last, or MOVED; host NULL: nobody did */
    size_t host_at;   /* the sentinel, or the node, that is asked next */
    Pending *first;
    Pending **end;
    struct event *retry;
    struct event *deadline;
    int64_t connect_by_ms;
    int64_t backoff_ms;
    Err trouble;    /* why the connection was last lost */
    unsigned depth; /* of callbacks: close frees only outside of them */
    bool closed;
};

static void start(Redis *redis);
static void handshake(Redis *redis);

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static void set_timer(struct event *timer, int64_t ms)
{
    struct timeval when = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(timer, &when);
}

static void copy_address(RedisAddress *to, const RedisAddress *from)
{
    *to = *from;
    for (size_t i = 0; i < from->host_count; i++)
        to->hosts[i].host = mem_string(from->hosts[i].host);
    to->socket_path = mem_string(from->socket_path);
    to->master = mem_string(from->master);
    to->user = mem_string(from->user);
}

/* The one place that frees; callers are outside of every callback of ours. */
static void destroy(Redis *redis)
{
    if (redis->retry != NULL)
        event_free(redis->retry);
    if (redis->deadline != NULL)
        event_free(redis->deadline);
    if (redis->dns != NULL)
        evdns_base_free(redis->dns, 0);
    SSL_CTX_free(redis->tls);
    redis_address_free(&redis->params.address);
    mem_free(redis->master.host);
    mem_free(redis->ca_file);
    mem_free(redis->cert_file);
    mem_free(redis->key_file);
    mem_free(redis);
}

static void enter(Redis *redis)
{
    redis->depth++;
}

/* False when the client is gone. */
static bool leave(Redis *redis)
{
    redis->depth--;
    if (redis->depth > 0 || !redis->closed)
        return !redis->closed;
    destroy(redis);
    return false;
}

static void drop_connection(Redis *redis)
{
    if (redis->bev != NULL)
        bufferevent_free(redis->bev);
    redis->bev = NULL;
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
    evtimer_del(redis->deadline);
}

static void fail_pending(Redis *redis, const Err *err)
{
    Pending *list = redis->first;
    redis->first = NULL;
    redis->end = &redis->first;
    while (list != NULL) {
        Pending *one = list;
        redisReply *none = NULL;
        list = one->next;
        one->done(one->ctx, &none, err);
        mem_free(one);
    }
}

static bool is_cause(const Err *err, const char *cause)
{
    return strcmp(err->cause, cause) == 0;
}

/* Who did not help is not asked again at once. */
static void ask_another(Redis *redis, const Err *err)
{
    bool cluster = redis->params.address.cluster && !is_cause(err, "queue.moved");
    if (redis->stage != STAGE_SENTINEL && !cluster)
        return;
    redis->host_at = (redis->host_at + 1) % redis->params.address.host_count;
    if (!cluster)
        return;
    mem_free(redis->master.host);
    redis->master.host = NULL;
}

/* The connection is over, for the reason in *err. Inside enter/leave. */
static void lose(Redis *redis, const Err *err)
{
    if (redis->stage == STAGE_WAITING || redis->closed)
        return;
    ask_another(redis, err);
    redis->trouble = *err;
    redis->stage = STAGE_WAITING;
    drop_connection(redis);
    fail_pending(redis, err);
    if (redis->closed)
        return;
    /* Half fixed, half random: a fleet that lost one server does not come back in one beat. */
    double wait = (double)redis->backoff_ms * (0.5 + 0.5 * rand_unit());
    set_timer(redis->retry, (int64_t)wait + 1);
    redis->backoff_ms =
        redis->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : redis->backoff_ms * 2;
    if (redis->params.on_lost != NULL)
        redis->params.on_lost(redis->params.ctx, &redis->trouble);
}

/* These mean: this server will not serve us now, another (or later the same) one will. */
static bool must_reconnect(const Err *err)
{
    return is_cause(err, "queue.readonly") || is_cause(err, "queue.loading") ||
           is_cause(err, "queue.masterdown") || is_cause(err, "queue.moved");
}

static const RedisHost *where(const Redis *redis)
{
    const RedisAddress *address = &redis->params.address;
    bool told = redis->master.host != NULL && redis->stage != STAGE_SENTINEL;
    return told ? &redis->master : &address->hosts[redis->host_at];
}

/* What moved is looked for where the answer says. */
static void follow(Redis *redis, const redisReply *reply)
{
    RedisHost to = {0};
    if (!redis->params.address.cluster || !redis_reply_moved(reply, &to))
        return;
    if (to.host == NULL)
        to.host = mem_string(where(redis)->host);
    mem_free(redis->master.host);
    redis->master = to;
}

static void watch_deadline(Redis *redis)
{
    int64_t earliest = redis->stage == STAGE_READY ? INT64_MAX : redis->connect_by_ms;
    for (const Pending *one = redis->first; one != NULL; one = one->next)
        if (one->deadline_ms < earliest)
            earliest = one->deadline_ms;
    if (earliest == INT64_MAX) {
        evtimer_del(redis->deadline);
        return;
    }
    int64_t left = earliest - now_ms();
    set_timer(redis->deadline, left > 0 ? left : 0);
}

/* One reply for the command that has waited longest. */
static void answer(Redis *redis, redisReply *reply)
{
    Pending *one = redis->first;
    if (one == NULL) {
        Err err = {0};
        err_set(&err, ERR_CORRUPT, "queue.protocol", "Redis answers what nobody asked");
        freeReplyObject(reply);
        lose(redis, &err);
        return;
    }
    redis->first = one->next;
    if (redis->first == NULL)
        redis->end = &redis->first;
    Err err = {0};
    bool lost = false;
    if (reply->type == REDIS_REPLY_ERROR) {
        redis_reply_err(reply, &err);
        lost = must_reconnect(&err);
        follow(redis, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    one->done(one->ctx, &reply, &err);
    mem_free(one);
    if (reply != NULL)
        freeReplyObject(reply);
    if (lost)
        lose(redis, &err);
}

static bool feed(Redis *redis)
{
    struct evbuffer *input = bufferevent_get_input(redis->bev);
    struct evbuffer_iovec piece;
    while (evbuffer_peek(input, -1, NULL, &piece, 1) > 0) {
        if (redisReaderFeed(redis->reader, piece.iov_base, piece.iov_len) != REDIS_OK)
            return false;
        evbuffer_drain(input, piece.iov_len);
    }
    return !redis_reply_too_long(redis->reader);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    Redis *redis = ctx;
    (void)bev;
    enter(redis);
    bool sound = feed(redis);
    while (sound && !redis->closed && redis->reader != NULL) {
        void *reply = NULL;
        sound = redisReaderGetReply(redis->reader, &reply) == REDIS_OK;
        if (!sound || reply == NULL)
            break;
        answer(redis, reply);
    }
    if (!sound && !redis->closed) {
        Err err = {0};
        err_set(&err, ERR_CORRUPT, "queue.protocol",
                "what answers is no Redis: %.100s; check address and TLS",
                redis_reply_trouble(redis->reader));
        lose(redis, &err);
    }
    if (!redis->closed && redis->stage != STAGE_WAITING)
        watch_deadline(redis);
    leave(redis);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    Redis *redis = ctx;
    (void)fd, (void)what;
    enter(redis);
    Err err = {0};
    err_set(&err, ERR_TIMEOUT, "queue.timeout", "Redis did not answer in time");
    lose(redis, &err);
    leave(redis);
}

static void broken(Redis *redis, Err *err)
{
    int sys = EVUTIL_SOCKET_ERROR();
    unsigned long code = redis->tls == NULL ? 0 : bufferevent_get_openssl_error(redis->bev);
    const SSL *session = redis->tls == NULL ? NULL : bufferevent_openssl_get_ssl(redis->bev);
    int resolved = bufferevent_socket_get_dns_error(redis->bev);
    if (resolved != 0)
        err_set(err, ERR_UNREACHABLE, "queue.unreachable", "the host name of Redis: %s",
                evutil_gai_strerror(resolved));
    else if (code != 0 || (session != NULL && SSL_get_verify_result(session) != X509_V_OK))
        err_set(err, ERR_UNREACHABLE, "queue.tls", "TLS to Redis fails: %s; check ca and host name",
                redis_tls_reason(session, code));
    else
        err_set(err, ERR_UNREACHABLE, "queue.unreachable", "Redis: %s",
                sys == 0 ? "connection lost" : evutil_socket_error_to_string(sys));
    ERR_clear_error();
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    Redis *redis = ctx;
    (void)bev;
    enter(redis);
    Err err = {0};
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        handshake(redis);
    } else if ((what & BEV_EVENT_EOF) != 0) {
        err_set(&err, ERR_UNREACHABLE, "queue.unreachable", "Redis closed the connection");
        lose(redis, &err);
    } else {
        broken(redis, &err);
        lose(redis, &err);
    }
    leave(redis);
}

/* A timeout of 0 means none of its own: the connect deadline covers the handshake. */
static void send_command(Redis *redis, const Slice *argv, size_t argc, int64_t timeout_ms,
                         RedisDone *done, void *ctx)
{
    struct evbuffer *output = bufferevent_get_output(redis->bev);
    evbuffer_add_printf(output, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        evbuffer_add_printf(output, "$%zu\r\n", argv[i].len);
        evbuffer_add(output, argv[i].at, argv[i].len);
        evbuffer_add(output, "\r\n", 2);
    }
    Pending *one = mem_new(Pending);
    *one = (Pending){.done = done,
                     .ctx = ctx,
                     .deadline_ms = timeout_ms == 0 ? INT64_MAX : now_ms() + timeout_ms};
    *redis->end = one;
    redis->end = &one->next;
    watch_deadline(redis);
}

static void set_ready(Redis *redis)
{
    redis->stage = STAGE_READY;
    redis->backoff_ms = BACKOFF_FIRST_MS;
    redis->trouble = (Err){0};
    watch_deadline(redis);
    if (redis->params.on_ready != NULL)
        redis->params.on_ready(redis->params.ctx);
}

/* AUTH and SELECT are sent ahead; the answer to the last of them makes the connection ready. */
static void on_step(void *ctx, redisReply **reply, const Err *err)
{
    Redis *redis = ctx;
    if (err->code != ERR_NONE && redis->stage != STAGE_WAITING)
        lose(redis, err);
    else if (*reply != NULL && redis->first == NULL && redis->stage == STAGE_CONNECTING)
        set_ready(redis);
}

static void on_master(void *ctx, redisReply **reply, const Err *err)
{
    Redis *redis = ctx;
    Err why = *err;
    if (redis->stage != STAGE_SENTINEL)
        return;
    if (!redis_reply_host(*reply, &redis->master)) {
        if (why.code == ERR_NONE)
            err_set(&why, ERR_UNREACHABLE, "queue.no_master", "the sentinel knows no master %s",
                    redis->params.address.master);
        lose(redis, &why);
        return;
    }
    /* start() replaces the bufferevent whose callback this is: libevent defers the free. */
    redis->stage = STAGE_CONNECTING;
    drop_connection(redis);
    start(redis);
}

static void send_auth(Redis *redis, const char *user, Slice password, RedisDone *done)
{
    Slice argv[3] = {slice_of_text(TEXT("AUTH")), slice_of_text(text_of(user)), password};
    if (password.len == 0)
        return;
    if (user == NULL)
        argv[1] = password;
    send_command(redis, argv, user == NULL ? 2 : 3, 0, done, redis);
}

static void on_sentinel_auth(void *ctx, redisReply **reply, const Err *err)
{
    Redis *redis = ctx;
    (void)reply;
    if (err->code != ERR_NONE && redis->stage != STAGE_WAITING)
        lose(redis, err);
}

static void handshake(Redis *redis)
{
    const RedisAddress *address = &redis->params.address;
    if (redis->stage == STAGE_SENTINEL) {
        Slice argv[3] = {slice_of_text(TEXT("SENTINEL")),
                         slice_of_text(TEXT("get-master-addr-by-name")),
                         slice_of_text(text_of(address->master))};
        send_auth(redis, NULL, redis->params.sentinel_password, on_sentinel_auth);
        send_command(redis, argv, 3, 0, on_master, redis);
        return;
    }
    send_auth(redis, address->user, redis->params.password, on_step);
    char number[16];
    snprintf(number, sizeof number, "%u", address->database);
    Slice argv[2] = {slice_of_text(TEXT("SELECT")), slice_of_text(text_of(number))};
    if (address->database != 0)
        send_command(redis, argv, 2, 0, on_step, redis);
    /* A command that any user may give: it proves that the connection is accepted. */
    Slice ping = slice_of_text(TEXT("PING"));
    send_command(redis, &ping, 1, 0, on_step, redis);
}

static bool connect_socket(Redis *redis, Err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *path = redis->params.address.socket_path;
    if (strlen(path) >= sizeof at.sun_path)
        return err_set(err, ERR_INVALID, "queue.address", "the socket path %s is too long", path);
    memcpy(at.sun_path, path, strlen(path) + 1);
    if (bufferevent_socket_connect(redis->bev, (struct sockaddr *)&at, sizeof at) != 0)
        return err_set(err, ERR_UNREACHABLE, "queue.unreachable", "Redis at %s: %s", path,
                       evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    return true;
}

static bool connect_host(Redis *redis, const RedisHost *host, Err *err)
{
    if (redis->dns == NULL) {
        redis->dns = evdns_base_new(redis->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        /* Without resolv.conf the hosts file and plain addresses still work. */
        if (redis->dns != NULL)
            (void)evdns_base_resolv_conf_parse(redis->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
    }
    if (bufferevent_socket_connect_hostname(redis->bev, redis->dns, AF_UNSPEC, host->host,
                                            host->port) != 0)
        return err_set(err, ERR_UNREACHABLE, "queue.unreachable", "Redis at %s:%u: %s", host->host,
                       host->port, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    return true;
}

static bool make_transport(Redis *redis, const RedisHost *host, Err *err)
{
    enum { OPTIONS = BEV_OPT_CLOSE_ON_FREE };
    if (redis->tls == NULL) {
        redis->bev = bufferevent_socket_new(redis->base, -1, OPTIONS);
    } else {
        SSL *session = NULL;
        if (!redis_tls_session(redis->tls, host->host, &session, err))
            return false;
        redis->bev = bufferevent_openssl_socket_new(redis->base, -1, session,
                                                    BUFFEREVENT_SSL_CONNECTING, OPTIONS);
        if (redis->bev != NULL)
            bufferevent_openssl_set_allow_dirty_shutdown(redis->bev, 1);
    }
    redis->reader = redis_reply_reader();
    if (redis->bev == NULL || redis->reader == NULL)
        return err_set(err, ERR_FULL, "queue.memory", "no memory for a connection to Redis");
    bufferevent_setcb(redis->bev, on_read, NULL, on_event, redis);
    bufferevent_enable(redis->bev, EV_READ | EV_WRITE);
    return true;
}

/* Opens the connection that the stage asks for. */
static void start(Redis *redis)
{
    const RedisAddress *address = &redis->params.address;
    const RedisHost *host = where(redis);
    Err err = {0};
    bool ok = make_transport(redis, host, &err);
    if (ok)
        ok = address->socket_path != NULL ? connect_socket(redis, &err)
                                          : connect_host(redis, host, &err);
    if (!ok)
        lose(redis, &err);
    else
        watch_deadline(redis);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    Redis *redis = ctx;
    (void)fd, (void)what;
    if (redis->stage != STAGE_WAITING)
        return;
    enter(redis);
    redis->stage = redis->params.address.master != NULL ? STAGE_SENTINEL : STAGE_CONNECTING;
    redis->connect_by_ms = now_ms() + redis->params.connect_ms;
    start(redis);
    leave(redis);
}

bool redis_open(Redis **out, struct event_base *base, const RedisParams *params, Err *err)
{
    Redis *redis = mem_new(Redis);
    redis->base = base;
    redis->params = *params;
    redis->ca_file = mem_string(params->ca_file);
    redis->cert_file = mem_string(params->cert_file);
    redis->key_file = mem_string(params->key_file);
    copy_address(&redis->params.address, &params->address);
    if (redis->params.connect_ms == 0)
        redis->params.connect_ms = CONNECT_MS;
    redis->backoff_ms = BACKOFF_FIRST_MS;
    redis->end = &redis->first;
    err_set(&redis->trouble, ERR_UNREACHABLE, "queue.unreachable", "not connected to Redis yet");
    if (params->address.tls &&
        !redis_tls_open(&redis->tls, redis->ca_file, redis->cert_file, redis->key_file, err)) {
        destroy(redis);
        return false;
    }
    redis->retry = evtimer_new(base, on_retry, redis);
    redis->deadline = evtimer_new(base, on_deadline, redis);
    if (redis->retry == NULL || redis->deadline == NULL) {
        destroy(redis);
        return err_set(err, ERR_FULL, "queue.memory", "no memory for a connection to Redis");
    }
    set_timer(redis->retry, 0);
    *out = redis;
    return true;
}

bool redis_ready(const Redis *redis)
{
    return redis->stage == STAGE_READY && !redis->closed;
}

bool redis_command(Redis *redis, const Slice *argv, size_t argc, int64_t timeout_ms,
                   RedisDone *done, void *ctx, Err *err)
{
    if (argc == 0 || argc > ARGV_MOST)
        return err_set(err, ERR_BUG, "queue.argv", "a command of %zu words", argc);
    if (!redis_ready(redis)) {
        *err = redis->trouble;
        return err->code != ERR_NONE
                   ? false
                   : err_set(err, ERR_UNREACHABLE, "queue.unreachable", "not connected to Redis");
    }
    send_command(redis, argv, argc, timeout_ms, done, ctx);
    return true;
}

void redis_reconnect(Redis *redis)
{
    Err err = {0};
    err_set(&err, ERR_UNREACHABLE, "queue.reconnect", "the connection to Redis is opened anew");
    enter(redis);
    lose(redis, &err);
    leave(redis);
}

void redis_close(Redis *redis)
{
    if (redis == NULL || redis->closed)
        return;
    Err err = {0};
    err_set(&err, ERR_CANCELLED, "queue.closed", "the connection to Redis was closed");
    enter(redis);
    redis->closed = true;
    evtimer_del(redis->retry);
    drop_connection(redis);
    fail_pending(redis, &err);
    leave(redis);
}
