/* SPDX-License-Identifier: Apache-2.0
 * Every record that lies in a key file or a repository's two clear objects, and the printed kit. */
#include "common/codec/keyfile.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t root[SEAL_SIGN_PUBLIC];
    Slice slice = {bytes, size};
    Err err = {0};
    KeysRecord keys;
    ConfigRecord config;
    CertRecord cert;
    WriterFile writer = {0};
    ReaderFile reader;
    Kit kit;
    bool any = keyfile_keys_unpack(slice, &keys, &err);
    any = keyfile_config_unpack(slice, &config, &err) || any;
    any = keyfile_cert_unpack(slice, root, &cert, &err) || any;
    any = keyfile_reader_unpack(slice, &reader, &err) || any;
    any = keyfile_reader_look(slice, &reader, &err) || any;
    any = keyfile_kit_parse(text_of_slice(slice), &kit, &err) || any;
    if (keyfile_writer_unpack(slice, &writer, &err))
        any = true;
    keyfile_writer_wipe(&writer);
    (void)any;
    return 0;
}
