// SPDX-License-Identifier: Apache-2.0
// What the tests of flow/ stand on: a flow over the real embedded back ends in a folder of its own, with a scripted
// extractor in the place of the real one.
#ifndef DEEPLENS_TESTS_FLOW_RIG_H
#define DEEPLENS_TESTS_FLOW_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "flow/admin.h"
#include "flow/flow.h"
#include "flow/pixel_cache.h"
#include "flow/runner.h"
#include "flow/step.h"

// --- The extractor: models "fake" (batches of 8) and "second" (one by one), 8 dimensions each.

enum { FAKE_DIMENSION = 8, FAKE_CALLS_MAX = 4096, FAKE_KEYS = 4096 };

struct fake;
// What a call is to end with: ERR_NONE for vectors. `code` is the first picture's (see rig_item). May sleep.
typedef enum error_code fake_script_fn(struct fake *fake, size_t call, const char *model, int code);

struct fake {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool held;      // calls wait until they are released
    size_t waiting; // calls that do
    size_t at_once, most_at_once, largest_batch;
    size_t calls;
    size_t count; // pictures in the order in which they came
    int codes[FAKE_CALLS_MAX];
    _Atomic int busy[FAKE_KEYS]; // pictures of this code that are at work
    _Atomic bool overlapped;     // two of one code were at work at once
    bool bad_vector;             // gives vectors that are not normalised
    fake_script_fn *script;
    void *arg; // the script's
};

void fake_hold(struct fake *fake);
void fake_release(struct fake *fake);
void fake_wait_held(struct fake *fake, size_t calls); // until so many calls wait

// --- The rig

struct rig {
    char dir[512];
    struct meta meta; // as opened, not wrapped
    struct flow flow;
    struct extractor extractor;
    struct fake fake;
    struct runner_config config;
    struct runner *runner;
};

// A fresh folder; `faults` is a plan for backends/fault.h, or NULL. The flow is open, no runner runs.
struct rig *rig_new(const char *faults);
void rig_free(struct rig *rig); // stops the runner, removes the folder
// Closes and opens everything on the same folder, as a new process would.
void rig_reopen(struct rig *rig, const char *faults);
int rig_open(struct rig *rig, const char *faults, struct error *err); // in `dir`; asserts nothing
void rig_close(struct rig *rig);
void rig_start(struct rig *rig); // the runner, with rig->config
void rig_stop(struct rig *rig);

#define must(call)                                                                                                     \
    do {                                                                                                               \
        struct error must_err_ = {0};                                                                                  \
        struct error *err = &must_err_;                                                                                \
        if ((call) < 0)                                                                                                \
            fail_msg("%s: %s: %s", #call, error_code_name(must_err_.code), must_err_.message);                         \
    } while (0)

// The call must fail with this code.
#define must_fail(expected, call)                                                                                      \
    do {                                                                                                               \
        struct error must_err_ = {0};                                                                                  \
        struct error *err = &must_err_;                                                                                \
        if ((call) == 0)                                                                                               \
            fail_msg("%s: did not fail", #call);                                                                       \
        if (must_err_.code != (expected))                                                                              \
            fail_msg("%s: %s instead of %s: %s", #call, error_code_name(must_err_.code), error_code_name(expected),    \
                     must_err_.message);                                                                               \
    } while (0)

// Waits until the expression holds. The test fails when it does not for a very long time.
#define wait_for(expression)                                                                                           \
    do {                                                                                                               \
        int64_t until_ = clock_mono_us() + 50000000;                                                                   \
        while (!(expression)) {                                                                                        \
            if (clock_mono_us() > until_)                                                                              \
                fail_msg("waited in vain for: %s", #expression);                                                       \
            clock_sleep_ms(2);                                                                                         \
        }                                                                                                              \
    } while (0)

// --- Items and events

// An encoded picture (WebP), another one for each number; malloc'ed.
void *rig_picture(int number, size_t *len);
// Uploads picture `number` as tenant "default"; options may be NULL. The id goes to `id`.
void rig_upload(struct rig *rig, int number, const char *options, char id[ID_MAX]);
// A row of an item (models: "fake") whose decoded picture is in the cache for ever and carries `code` (0 … 4095).
void rig_item(struct rig *rig, int code, char id[ID_MAX]);
void rig_item_of(struct rig *rig, const char *tenant, int code, const char *options, char id[ID_MAX]);

struct rig_event { // what is put on a topic; zero and NULL: the usual
    const char *id, *tenant, *media;
    const char *model;
    const char *priority; // as a header
    int attempt, max_attempts;
    int backoff_ms;
};
void rig_request(struct rig *rig, const struct rig_event *event); // feature.extraction.requested
void rig_publish(struct rig *rig, enum event_topic topic, const char *key, const char *text);
void rig_publish_bytes(struct rig *rig, enum event_topic topic, const char *key, const void *data, size_t len);

// --- Looking

// All records of a topic, by partition and offset, in the arena.
struct elog_record *rig_records(struct rig *rig, struct arena *arena, enum event_topic topic, size_t *count);
size_t rig_count(struct rig *rig, enum event_topic topic);
size_t rig_count_of(struct rig *rig, enum event_topic topic, const char *media); // about this item
const char *rig_header(const struct elog_record *record, const char *name);
struct event rig_decode(struct arena *arena, enum event_topic topic, const struct elog_record *record, json_t **root);

int64_t rig_lag(struct rig *rig, enum step_id step);
size_t rig_held(struct rig *rig, enum step_id step);
bool rig_paused(struct rig *rig, enum step_id step);
uint64_t rig_retries(struct rig *rig);
uint64_t rig_open_inbox(struct rig *rig);
bool rig_idle(struct rig *rig);      // no lag, nothing held, no retry waiting
void rig_wait_idle(struct rig *rig); // and the ledger closes
struct meta_ledger rig_ledger(struct rig *rig);
struct media rig_media(struct rig *rig, struct arena *arena, const char *id);
bool rig_status_is(struct rig *rig, const char *id, enum media_status status);
size_t rig_vectors(struct rig *rig, const char *collection);
size_t rig_blobs(struct rig *rig);

#endif
