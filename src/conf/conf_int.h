// SPDX-License-Identifier: Apache-2.0
// What the files of conf/ share: options.def as a table that code can walk.
#ifndef DEEPLENS_CONF_CONF_INT_H
#define DEEPLENS_CONF_CONF_INT_H

#include "base/buf.h"
#include "conf/conf.h"

enum option_kind { OPT_SECTION, OPT_PREFIX, OPT_STRING, OPT_CHOICE, OPT_BOOL, OPT_INT, OPT_SIZE, OPT_TIME };

struct option {
    enum option_kind kind;
    const char *name; // "http.listen"; the title of a section
    size_t offset;    // of the field in struct conf
    const char *def;  // of strings and choices
    int64_t number;   // default of everything else
    int64_t least, most;
    const char *choices; // "a|b|c"
    const char *text;
};

enum { OPTION_NAME_MAX = 64, OPTION_NUMBER_TEXT = 32 };

extern const struct option conf_options[];
extern const size_t conf_option_count;

const struct option *conf_option_find(const char *name);
// The prefix that a name with dots begins with; NULL when there is none. Names of options come before it.
const struct option *conf_prefix_find(const char *name);
int conf_prefix_set(struct conf *c, const struct option *o, const char *name, const char *value, struct error *err);
int conf_option_set(struct conf *c, const struct option *o, const char *value, struct error *err);

// Folds all spellings of a name into one: "--kafka-sasl-username", "DEEPLENS_KAFKA_SASL_USERNAME" →
// "kafka.sasl.username".
void conf_fold_name(const char *written, char out[OPTION_NAME_MAX]);

// The other spellings of a name: "http.poll_threads" → "--http-poll-threads", "DEEPLENS_HTTP_POLL_THREADS".
void conf_flag_name(const char *name, char out[OPTION_NAME_MAX + 16]);
void conf_env_name(const char *name, char out[OPTION_NAME_MAX + 16]);

// The option whose name is nearest to what was written, in whatever spelling; NULL when none is near.
const struct option *conf_option_nearest(const char *written);

// A number in the option's own notation ("64MiB", "5m", "16", "true"); returns `out`.
const char *conf_number_text(const struct option *o, int64_t value, char out[OPTION_NUMBER_TEXT]);

// What the option takes, as a phrase: "a size from 1KiB to 16GiB, such as 64M".
void conf_allowed(const struct option *o, struct buf *out);

#endif
