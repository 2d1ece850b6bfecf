/* SPDX-License-Identifier: Apache-2.0
 * replay.c — runs a fuzz target over every file of the folders named, as an ordinary test. Each
 * input is also cut short at every length and has each byte changed once, up to a bound. */
#include "tests/fuzz/target.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MOST = 1 << 20, VARIED_MOST = 4096 };

static void vary(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        abort();
    for (size_t at = 0; at < size && at < VARIED_MOST; at++) {
        memcpy(copy, bytes, size);
        LLVMFuzzerTestOneInput(copy, at);
        copy[at] ^= 0xff;
        LLVMFuzzerTestOneInput(copy, size);
        copy[at] ^= 0xfe;
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
}

static bool replay(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    uint8_t *bytes = malloc(INPUT_MOST);
    if (file == NULL || bytes == NULL)
        return false;
    size_t size = fread(bytes, 1, INPUT_MOST, file);
    fclose(file);
    /* An exact allocation, so that a sanitizer sees a read past the end. */
    uint8_t *exact = realloc(bytes, size == 0 ? 1 : size);
    LLVMFuzzerTestOneInput(exact, size);
    vary(exact, size);
    free(exact);
    return true;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        const struct dirent *entry;
        if (folder == NULL) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(folder)) != NULL)
            if (entry->d_name[0] != '.')
                count += replay(argv[i], entry->d_name);
        closedir(folder);
    }
    printf("%zu inputs\n", count);
    return count == 0;
}
