/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_bundle.h"

#include "common/base/json.h"
#include "common/base/mem.h"

static bool refuse(Err *err, const char *why)
{
    return err_set(err, ERR_USAGE, "policy.bundle",
                   "%s; a bundle is {\"files\": [{\"name\": …, \"text\": …}, …]}", why);
}

/* Parts between slashes, none of them empty, "." or "..". */
static bool name_fits(const char *name, size_t len)
{
    bool fits = len != 0 && len <= FLEET_BUNDLE_NAME && strlen(name) == len;
    for (const char *at = name; fits; at++) {
        size_t part = strcspn(at, "/");
        fits = part != 0 && !(part == 1 && at[0] == '.') &&
               !(part == 2 && at[0] == '.' && at[1] == '.');
        at += part;
        if (*at == 0)
            break;
    }
    for (size_t i = 0; fits && i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        bool c1 = c == 0xc2 && (unsigned char)name[i + 1] < 0xa0;
        fits = c >= 0x20 && c != 0x7f && !c1;
    }
    return fits;
}

static bool read_file(json_t *row, json_t *names, FleetFile *out, Err *err)
{
    const json_t *named = json_object_get(row, "name");
    const char *name = json_string_value(named);
    const json_t *text = json_object_get(row, "text");
    if (name == NULL || !json_is_string(text) || json_object_size(row) != 2)
        return refuse(err, "each file has a name and a text, and nothing else");
    if (!name_fits(name, json_string_length(named)))
        return refuse(err, "a file's name is a relative path without '..', 255 bytes at most");
    if (json_object_get(names, name) != NULL)
        return refuse(err, "two files have the same name");
    json_object_set_new(names, name, json_true());
    *out = (FleetFile){name, {json_string_value(text), json_string_length(text)}};
    return true;
}

bool fleet_bundle_read(Text text, FleetBundle *out, Err *err)
{
    Err parsing = {0};
    *out = (FleetBundle){0};
    if (!json_parse(text, &out->owner, &parsing))
        return refuse(err, "the body is not JSON");
    json_t *files = json_object_get(out->owner, "files");
    size_t count = json_array_size(files);
    if (count == 0 || json_object_size(out->owner) != 1)
        return refuse(err, "there is no list of files, or something beside it");
    if (count > FLEET_BUNDLE_FILES)
        return refuse(err, "there are more than 1000 files");
    scoped(json_release) json_t *names = json_object();
    out->files = mem_array(FleetFile, count);
    for (; out->count < count; out->count++)
        if (!read_file(json_array_get(files, out->count), names, &out->files[out->count], err))
            return false;
    return true;
}

void fleet_bundle_free(FleetBundle *bundle)
{
    mem_free(bundle->files);
    json_decref(bundle->owner);
    *bundle = (FleetBundle){0};
}
