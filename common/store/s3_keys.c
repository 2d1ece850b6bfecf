/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_keys.h"

#include "common/base/clock.h"
#include "common/base/http.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A rotated file is used within a minute, even where the server would still take the old keys. */
static const int64_t FRESH_NS = 60 * (int64_t)1000000000;
/* AWS gives new keys at least five minutes before the old ones end. */
static const int64_t EARLY_S = 300;
enum { METADATA_MS = 2000 };

struct S3KeySource {
    json_t *id, *secret; /* NULL: by AWS's conventions */
    SecretScope scope;
    const char **below;   /* of the scope */
    pthread_mutex_t lock; /* guards all below */
    S3Keys keys;
    bool known;
    int64_t until; /* read again then, by the boot clock */
};

static S3Keys lent;

void s3_keys_wipe(S3Keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

S3KeySource *s3_keys_open(const json_t *id, const json_t *secret, const SecretScope *scope)
{
    S3KeySource *source = mem_new(S3KeySource);
    source->id = json_deep_copy(id);
    source->secret = json_deep_copy(secret);
    source->scope = *scope;
    if (scope->below != NULL) {
        source->below = mem_array(const char *, scope->below_count);
        memcpy(source->below, scope->below, scope->below_count * sizeof *source->below);
        source->scope.below = source->below;
    }
    pthread_mutex_init(&source->lock, NULL);
    return source;
}

void s3_keys_close(S3KeySource *source)
{
    if (source == NULL)
        return;
    json_decref(source->id);
    json_decref(source->secret);
    mem_free(source->below);
    s3_keys_wipe(&source->keys);
    pthread_mutex_destroy(&source->lock);
    mem_free(source);
}

/* A key goes into a header: printable, and not longer than there is room. */
static bool take(Text text, char *out, size_t room, const char *what, Err *err)
{
    bool fine = text.len < room;
    for (size_t i = 0; fine && i < text.len; i++)
        fine = text.at[i] > ' ' && text.at[i] < 0x7f;
    if (!fine)
        return err_set(err, ERR_INVALID, "store.credentials",
                       "%s of the store is no such thing: it is too long or has odd characters",
                       what);
    memcpy(out, text.at, text.len);
    out[text.len] = 0;
    return true;
}

static bool take_all(S3Keys *keys, Text id, Text secret, Text token, Err *err)
{
    if (id.len == 0 || secret.len == 0)
        return err_set(err, ERR_MISSING, "no-credential",
                       "the store's access key or secret key is empty");
    return take(id, keys->id, sizeof keys->id, "the access key", err) &&
           take(secret, keys->secret, sizeof keys->secret, "the secret key", err) &&
           take(token, keys->token, sizeof keys->token, "the session token", err);
}

void s3_keys_lend(Text id, Text secret, Text token)
{
    Err refused = {0};
    if (id.len == 0 || secret.len == 0 || !take_all(&lent, id, secret, token, &refused))
        s3_keys_wipe(&lent);
}

static bool read_given(S3KeySource *source, S3Keys *keys, Err *err)
{
    scoped(secret_release) Secret *id = NULL;
    scoped(secret_release) Secret *secret = NULL;
    if (source->id == NULL || source->secret == NULL)
        return err_set(err, ERR_INVALID, "no-credential",
                       "a store has both an access_key and a secret_key, or neither");
    return secret_resolve(source->id, &source->scope, &id, err) &&
           secret_resolve(source->secret, &source->scope, &secret, err) &&
           take_all(keys, text_of_slice(secret_slice(id)), text_of_slice(secret_slice(secret)),
                    TEXT(""), err);
}

/* --- AWS's conventions ---------------------------------------------------------------------- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == 0 ? NULL : value;
}

static Text trim(Text text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = (Text){text.at + 1, text.len - 1};
    while (text.len > 0 && strchr(" \t\r", text.at[text.len - 1]) != NULL)
        text.len--;
    return text;
}

/* The value of one line "name = value"; false when the line is of another name. */
static bool setting(Text line, const char *name, Text *value)
{
    const char *equals = memchr(line.at, '=', line.len);
    if (equals == NULL)
        return false;
    Text left = trim((Text){line.at, (size_t)(equals - line.at)});
    if (!text_equal(left, text_of(name)))
        return false;
    *value = trim((Text){equals + 1, line.len - (size_t)(equals + 1 - line.at)});
    return true;
}

/* One profile of an INI file. */
static void find_profile(Text file, const char *profile, Text *id, Text *secret, Text *token)
{
    bool within = false;
    while (file.len > 0) {
        const char *newline = memchr(file.at, '\n', file.len);
        size_t len = newline == NULL ? file.len : (size_t)(newline - file.at);
        Text line = trim((Text){file.at, len});
        size_t skip = newline == NULL ? len : len + 1;
        file = (Text){file.at + skip, file.len - skip};
        if (line.len > 1 && line.at[0] == '[')
            within = text_equal(trim((Text){line.at + 1, line.len - 2}), text_of(profile));
        else if (within && line.len > 0 && line.at[0] != '#' &&
                 !setting(line, "aws_access_key_id", id) &&
                 !setting(line, "aws_secret_access_key", secret))
            setting(line, "aws_session_token", token);
    }
}

/* *found false: there is no such file. */
static bool read_profile(S3Keys *keys, bool *found, Err *err)
{
    char path[PATH_MAX];
    const char *named = variable("AWS_SHARED_CREDENTIALS_FILE"), *home = variable("HOME");
    const char *profile = variable("AWS_PROFILE");
    Text id = {"", 0}, secret = {"", 0}, token = {"", 0};
    scoped(secret_release) Secret *file = NULL;
    *found = named != NULL || home != NULL;
    if (!*found)
        return true;
    snprintf(path, sizeof path, "%s%s", named != NULL ? named : home,
             named != NULL ? "" : "/.aws/credentials");
    *found = access(path, F_OK) == 0;
    if (!*found)
        return true;
    profile = profile == NULL ? "default" : profile;
    if (!secret_read_file(path, &file, err))
        return false;
    find_profile(text_of_slice(secret_slice(file)), profile, &id, &secret, &token);
    if (id.len == 0 || secret.len == 0)
        return err_set(err, ERR_MISSING, "no-credential", "%s has no keys of the profile %s", path,
                       profile);
    return take_all(keys, id, secret, token, err);
}

/* One question to the metadata service of the machine or container. */
static bool ask(Http *http, const char *method, const char *url, const HttpHeader *header, Buf *out,
                Err *err)
{
    HttpResponse response = {0};
    HttpRequest request = {.method = method,
                           .url = url,
                           .headers = header,
                           .header_count = header->value != NULL,
                           .timeout_ms = METADATA_MS,
                           .connect_ms = METADATA_MS};
    bool fine = http_send(http, &request, &response, err);
    if (fine && response.status != 200)
        fine = err_set(err, ERR_UNREACHABLE, "no-credential",
                       "%s answers %d instead of access keys", url, response.status);
    buf_clear(out);
    if (fine)
        buf_add_slice(out, buf_slice(&response.body));
    if (response.body.at != NULL)
        explicit_bzero(response.body.at, response.body.room);
    http_response_free(&response);
    return fine;
}

static bool take_document(Text document, S3Keys *keys, int64_t *expires_s, Err *err)
{
    scoped(json_release) json_t *tree = NULL;
    if (!json_parse(document, &tree, err))
        return err_note(err, "the metadata service's access keys");
    scoped(mem_release) char *until = mem_text(json_text_or(tree, "Expiration", TEXT("")));
    *expires_s = 0;
    return (until[0] == 0 || clock_parse(until, expires_s) ||
            err_set(err, ERR_INVALID, "no-credential",
                    "the metadata service's keys expire at no proper time")) &&
           take_all(keys, json_text_or(tree, "AccessKeyId", TEXT("")),
                    json_text_or(tree, "SecretAccessKey", TEXT("")),
                    json_text_or(tree, "Token", TEXT("")), err);
}

static bool read_container(Http *http, const char *url, S3Keys *keys, int64_t *expires_s, Err *err)
{
    scoped(buf_free) Buf document = {0};
    HttpHeader token = {"Authorization", variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")};
    bool fine = ask(http, "GET", url, &token, &document, err) &&
                take_document(buf_text(&document), keys, expires_s, err);
    if (document.at != NULL)
        explicit_bzero(document.at, document.room);
    return fine;
}

static bool read_machine(Http *http, S3Keys *keys, int64_t *expires_s, Err *err)
{
    scoped(buf_free) Buf url = {0};
    scoped(buf_free) Buf token = {0};
    scoped(buf_free) Buf answer = {0};
    const char *base = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    HttpHeader header = {"X-aws-ec2-metadata-token-ttl-seconds", "300"};
    base = base == NULL ? "http://169.254.169.254" : base;
    size_t len = strlen(base) - (base[strlen(base) - 1] == '/');
    buf_printf(&url, "%.*s/latest/api/token", (int)len, base);
    if (!ask(http, "PUT", buf_cstr(&url), &header, &token, err))
        return false;
    header = (HttpHeader){"X-aws-ec2-metadata-token", buf_cstr(&token)};
    buf_clear(&url);
    buf_printf(&url, "%.*s/latest/meta-data/iam/security-credentials/", (int)len, base);
    if (!ask(http, "GET", buf_cstr(&url), &header, &answer, err))
        return false;
    Text role = trim((Text){(char *)answer.at, strcspn(buf_cstr(&answer), "\n")});
    http_escape(&url, role);
    bool fine = ask(http, "GET", buf_cstr(&url), &header, &answer, err) &&
                take_document(buf_text(&answer), keys, expires_s, err);
    if (answer.at != NULL)
        explicit_bzero(answer.at, answer.room);
    return fine;
}

static bool read_metadata(S3Keys *keys, int64_t *expires_s, Err *err)
{
    Http *http = NULL;
    char url[512];
    const char *whole = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    if (!http_open(&http, err))
        return false;
    snprintf(url, sizeof url, "%s%s", whole != NULL ? whole : "http://169.254.170.2",
             whole != NULL || relative == NULL ? "" : relative);
    bool fine = whole != NULL || relative != NULL ? read_container(http, url, keys, expires_s, err)
                                                  : read_machine(http, keys, expires_s, err);
    http_close(http);
    Err met = *err;
    return fine || err_set(err, met.code, "no-credential",
                           "this host has no access key of the store: give it access_key and "
                           "secret_key, AWS_ACCESS_KEY_ID, a profile or a role (%.160s)",
                           met.text);
}

static bool read_conventions(S3Keys *keys, int64_t *expires_s, Err *err)
{
    bool found;
    const char *id = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");
    const char *token = variable("AWS_SESSION_TOKEN");
    if (id != NULL && secret != NULL)
        return take_all(keys, text_of(id), text_of(secret), text_of(token == NULL ? "" : token),
                        err);
    if (lent.id[0] != 0) {
        *keys = lent;
        return true;
    }
    if (!read_profile(keys, &found, err))
        return false;
    return found || read_metadata(keys, expires_s, err);
}

/* --- one set of keys ------------------------------------------------------------------------ */

/* With the lock held. */
static bool read_now(S3KeySource *source, Err *err)
{
    S3Keys fresh = {0};
    int64_t expires_s = 0, now = clock_boot_ns();
    bool given = source->id != NULL || source->secret != NULL;
    if (!(given ? read_given(source, &fresh, err) : read_conventions(&fresh, &expires_s, err))) {
        s3_keys_wipe(&fresh);
        return false;
    }
    int64_t left_s = expires_s - clock_wall_ns() / 1000000000 - EARLY_S;
    source->until = now + (expires_s != 0 && left_s > 0 ? left_s * 1000000000 : FRESH_NS);
    source->keys = fresh;
    source->known = true;
    s3_keys_wipe(&fresh);
    return true;
}

bool s3_keys_get(S3KeySource *source, S3Keys *keys, Err *err)
{
    Err why = {0};
    pthread_mutex_lock(&source->lock);
    bool due = !source->known || clock_boot_ns() >= source->until;
    /* A source that cannot be read for a moment does not stop what its keys still open. */
    bool fine = !due || read_now(source, &why) || source->known;
    if (fine)
        *keys = source->keys;
    pthread_mutex_unlock(&source->lock);
    if (!fine)
        *err = why;
    return fine;
}

bool s3_keys_renew(S3KeySource *source, S3Keys *keys, bool *others, Err *err)
{
    pthread_mutex_lock(&source->lock);
    /* Another thread may have met the refusal first. */
    *others = source->known && memcmp(&source->keys, keys, sizeof *keys) != 0;
    bool fine = *others || read_now(source, err);
    if (fine)
        *others = memcmp(&source->keys, keys, sizeof *keys) != 0;
    if (fine && *others)
        *keys = source->keys;
    pthread_mutex_unlock(&source->lock);
    return fine;
}
