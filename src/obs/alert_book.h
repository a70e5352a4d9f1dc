// SPDX-License-Identifier: Apache-2.0
// What there is to tell, and when: the state behind alert.h, without threads and locks. See alert.h for the rules.
#ifndef DEEPLENS_OBS_ALERT_BOOK_H
#define DEEPLENS_OBS_ALERT_BOOK_H

#include "obs/alert.h"

enum {
    BOOK_GATHER_MS = 300, // what comes so soon after the first goes out with it
    BOOK_MESSAGE_MAX = 16 // subjects in one message
};

struct book_entry {
    bool used;
    enum alert_kind kind;
    char subject[ALERT_NAME_MAX];
    json_t *details;
    char *message;
    int64_t since_ms;      // the first that is pending; or when the condition began
    int64_t told_ms;       // 0: never
    int64_t ready_us;      // news waits so long for more
    int64_t not_before_us; // the next message
    uint64_t pending;      // of what happened: not told yet
    // Of a condition:
    int looks;  // in a row in which it held
    bool seen;  // in the look under way
    bool holds; // for as many looks as its kind asks for
    bool told;  // that it began
    bool over;  // it was told and holds no more: that is to be told, too
};

struct book {
    int64_t interval_ms, repeat_ms;
    bool off[ALERT_KINDS];
    struct book_entry entries[ALERT_SUBJECTS]; // the first is for all that find no place
    struct alert_silence silences[ALERT_SILENCES];
    int silence_count;
};

void book_raise(struct book *b, enum alert_kind kind, const char *subject, const char *message,
                const struct alert_field *fields);
void book_look_begin(struct book *b, enum alert_kind kind);
void book_hold(struct book *b, enum alert_kind kind, const char *subject, const char *message,
               const struct alert_field *fields);
void book_look_end(struct book *b, enum alert_kind kind);
void book_free(struct book *b);

// The next message, or NULL when none is due; then `*look_us` is when to ask again (monotonic). New.
json_t *book_take(struct book *b, int64_t *look_us);

json_t *book_list(const struct book *b);
json_t *book_firing(const struct book *b);
void book_restore(struct book *b, const json_t *firing);

#endif
