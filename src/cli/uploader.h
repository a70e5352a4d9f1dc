// SPDX-License-Identifier: Apache-2.0
// Uploads many files over a few kept-alive connections, streaming from disk.
//
// A file that the journal knows is asked for first: when the server still has it, it is passed over. A lost connection
// and 503 are tried again with growing, jittered waits; when a file's attempts are used up because no server answers,
// the rest is not tried (run it again to go on). Every other refusal is kept, and the next file goes on. SIGINT lets
// the running files end.
#ifndef DEEPLENS_CLI_UPLOADER_H
#define DEEPLENS_CLI_UPLOADER_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/id.h"
#include "cli/journal.h"

struct client;

enum upload_outcome {
    UPLOAD_NOT_TRIED,
    UPLOAD_NEW,       // accepted now
    UPLOAD_DUPLICATE, // the server has the same bytes already
    UPLOAD_RESUMED,   // uploaded by an earlier run, and still there
    UPLOAD_REFUSED,   // see error
    UPLOAD_OUTCOMES
};

enum upload_end { UPLOAD_UNKNOWN, UPLOAD_SEARCHABLE, UPLOAD_FAILED, UPLOAD_GONE };

struct upload_file {
    const char *path;
    const char *name;        // sent as the file's name
    const char *inside;      // in the journal
    struct journal *journal; // NULL: none
    int fd;                  // ≥ 0: read from here instead of `path` (stdin)
    uint64_t size;           // as found; what is sent is what it has when it is opened
    enum upload_outcome outcome;
    enum upload_end end; // after upload_wait
    char id[ID_MAX];
    struct error *error; // of UPLOAD_REFUSED and UPLOAD_FAILED; malloc'ed
};

struct upload {
    const char *server, *tenant;
    const char *query; // "&tags=…", already encoded: for each upload
    unsigned jobs;
    unsigned retries;
    bool quiet;
    int64_t since; // the newest change before the upload, for upload_wait; -1: not known
    struct upload_file *files;
    size_t count;
    uint64_t bytes; // of all files

    atomic_size_t next;
    atomic_uint_fast64_t done, done_bytes;
    atomic_uint running;
    atomic_bool stop;
    atomic_bool gave_up;      // no server answers
    atomic_bool journal_lost; // a journal could not be written
    double seconds;           // that it took
};

// Fills the outcome of each file. -1 only when it could not begin.
int upload_run(struct upload *u, struct error *err);

// Waits until everything that was uploaded is searchable or failed. -1 when the server stopped answering.
int upload_wait(struct upload *u, struct error *err);

bool upload_interrupted(void);   // SIGINT or SIGTERM came
void upload_catch_signals(void); // a second signal ends the process

// Tries again later? For what client.h answered last.
bool upload_worth_retrying(const struct client *client, const struct error *err);
int64_t upload_back_off_ms(unsigned attempt, int64_t asked_ms, unsigned *seed);

#endif
