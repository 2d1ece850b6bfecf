/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/store_url.h"

#include "common/base/mem.h"
#include "common/store/store_s3.h"

#include <stdio.h>
#include <stdlib.h>

static const char scheme[] = "s3://";

bool store_url_is_s3(const char *where)
{
    return strncmp(where, scheme, sizeof scheme - 1) == 0;
}

static const char *variable(const char *name, const char *other)
{
    const char *value = getenv(name);
    if ((value == NULL || value[0] == 0) && other != NULL)
        value = getenv(other);
    return value == NULL || value[0] == 0 ? NULL : value;
}

/* One "name=value" of what stands behind the '?'. */
static bool take_setting(StoreS3Params *params, char *setting, Err *err)
{
    char *value = strchr(setting, '=');
    if (value != NULL)
        *value++ = 0;
    bool known = value != NULL && value[0] != 0;
    if (known && strcmp(setting, "endpoint") == 0)
        params->endpoint = value;
    else if (known && strcmp(setting, "region") == 0)
        params->region = value;
    else if (known && strcmp(setting, "ca_file") == 0)
        params->ca_file = value;
    else if (known && strcmp(setting, "style") == 0)
        params->host_style = strcmp(value, "host") == 0;
    else
        return err_set(err, ERR_USAGE, "store.url",
                       "'%.60s' of the store is unknown; it has endpoint=, region=, style= and "
                       "ca_file=",
                       setting);
    return true;
}

static bool open_s3(Store **out, char *text, const char *below, Err *err)
{
    StoreS3Params params = {.bucket = text,
                            .endpoint = variable("AWS_ENDPOINT_URL", NULL),
                            .region = variable("AWS_REGION", "AWS_DEFAULT_REGION")};
    char prefix[STORE_S3_PREFIX_MOST + 1];
    char *settings = strchr(text, '?');
    if (settings != NULL)
        *settings++ = 0;
    for (char *rest = settings, *one; (one = strsep(&rest, "&")) != NULL;)
        if (!take_setting(&params, one, err))
            return false;
    char *folder = strchr(text, '/');
    if (folder != NULL)
        *folder++ = 0;
    size_t len = folder == NULL ? 0 : strlen(folder);
    len -= len != 0 && folder[len - 1] == '/';
    int wrote =
        snprintf(prefix, sizeof prefix, "%.*s%s%s%s", (int)len, folder == NULL ? "" : folder,
                 len == 0 ? "" : "/", below, below[0] == 0 ? "" : "/");
    if (wrote >= (int)sizeof prefix)
        return err_set(err, ERR_USAGE, "store.url", "the store's prefix is too long");
    params.prefix = prefix;
    return store_s3_open(out, &params, err);
}

bool store_url_open(Store **out, const char *where, const char *below, Err *err)
{
    *out = NULL;
    if (store_url_is_s3(where)) {
        scoped(mem_release) char *text = mem_string(where + sizeof scheme - 1);
        return open_s3(out, text, below, err);
    }
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "%s%s%s", where, below[0] == 0 ? "" : "/", below);
    return store_local_open(out, buf_cstr(&path), err);
}
