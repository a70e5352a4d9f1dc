// SPDX-License-Identifier: Apache-2.0
// What was uploaded before: one file a (server, tenant, folder), so that an upload goes on after an interruption. Each
// acknowledged upload is one line, appended in one write: "imageId size mtime-in-ns path-inside-the-folder", the path
// percent-encoded where it is not plain. A last line that is torn is passed over, and a later line wins.
#ifndef DEEPLENS_CLI_JOURNAL_H
#define DEEPLENS_CLI_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct journal;

// The folder for the journals: $XDG_STATE_HOME/deeplens/uploads, else ~/.local/state/…; -1 when there is no home.
int journal_folder(char *out, size_t size, struct error *err);

int journal_open(const char *folder, const char *server, const char *tenant, const char *root, struct journal **out,
                 struct error *err);
void journal_close(struct journal *j); // takes NULL

// The id under which the file was uploaded as it is now (size, mtime), or NULL. Not while journal_add runs.
const char *journal_find(const struct journal *j, const char *inside, uint64_t size, int64_t mtime_ns);

// Any thread. Files added are not found before the journal is opened again.
int journal_add(struct journal *j, const char *inside, uint64_t size, int64_t mtime_ns, const char *id,
                struct error *err);

#endif
