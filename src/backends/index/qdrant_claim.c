// SPDX-License-Identifier: Apache-2.0
// Whose the vectors are.
//
// Collections are named by tenant and model alone: two installations on one server would write into each other's. So
// the first one leaves a mark, an empty collection named after it, and whoever finds another's refuses to start. Two
// that come at the same moment may both refuse; they never both go on: a mark is left first and looked around for
// others then, and who sees another takes its own away.
#include <stdio.h>
#include <string.h>

#include "backends/index/qdrant_int.h"
#include "base/clock.h"

enum { OLDEST_MAJOR = 1, OLDEST_MINOR = 10, MARK_MAX = 128, LOOK_US = 1000000 };

bool qdrant_is_mark(const char *collection)
{
    return strncmp(collection, QDRANT_MARK, sizeof QDRANT_MARK - 1) == 0;
}

static int check_version(struct qdrant *q, struct error *err)
{
    _cleanup_answer_ struct qdrant_answer answer;
    const struct qdrant_request request = {.method = "GET", .path = "/"};
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    unsigned major = 0, minor = 0;
    const char *title = js_str(answer.json, "title", ""), *version = js_str(answer.json, "version", "");
    if (!strcasestr(title, "qdrant") || sscanf(version, "%u.%u", &major, &minor) != 2)
        return error_set(err, ERR_CONFIG, "What answers at %.200s is no Qdrant", q->config.url);
    if (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
        return error_set(err, ERR_CONFIG, "Qdrant at %.200s is version %.32s: it must be %d.%d or later", q->config.url,
                         version, OLDEST_MAJOR, OLDEST_MINOR);
    return 0;
}

// Whether our mark is there; another's is named in `other`.
static int look_for_marks(struct qdrant *q, bool *ours, char other[MARK_MAX], struct error *err)
{
    size_t i;
    json_t *each;
    _cleanup_answer_ struct qdrant_answer answer;
    const struct qdrant_request request = {.method = "GET", .path = "/collections"};
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    *ours = false;
    other[0] = 0;
    json_array_foreach(js_arr(answer.result, "collections"), i, each)
    {
        const char *name = js_str(each, "name", "");
        if (!qdrant_is_mark(name))
            continue;
        if (strcmp(name + sizeof QDRANT_MARK - 1, q->config.owner) == 0)
            *ours = true;
        else
            snprintf(other, MARK_MAX, "%s", name + sizeof QDRANT_MARK - 1);
    }
    return 0;
}

static int refuse(const struct qdrant *q, const char *other, struct error *err)
{
    return error_set(err, ERR_CONFIG,
                     "Qdrant at %.100s holds the vectors of the installation %.64s, and this one is %.64s: give each a "
                     "server of its own, or say qdrant.owner if it is the same one",
                     q->config.url, other, q->config.owner);
}

static int mark(struct qdrant *q, const char *method, struct error *err)
{
    static const char small[] = "{\"vectors\":{\"size\":1,\"distance\":\"Dot\"},\"shard_number\":1,"
                                "\"optimizers_config\":{\"default_segment_number\":1},"
                                "\"wal_config\":{\"wal_capacity_mb\":1}}";
    char path[MARK_MAX + 32];
    snprintf(path, sizeof path, "/collections/" QDRANT_MARK "%s", q->config.owner);
    bool put = strcmp(method, "PUT") == 0;
    _cleanup_answer_ struct qdrant_answer answer;
    const struct qdrant_request request = {
        .method = method, .path = path, .body = put ? small : NULL, .body_len = put ? sizeof small - 1 : 0};
    return qdrant_send(q, &request, &answer, err);
}

static int take_it(struct qdrant *q, struct error *err)
{
    bool ours;
    char other[MARK_MAX];
    if (look_for_marks(q, &ours, other, err) < 0)
        return -1;
    if (*other)
        return refuse(q, other, err);
    if (ours)
        return 0;
    if (mark(q, "PUT", err) < 0 || look_for_marks(q, &ours, other, err) < 0)
        return -1;
    if (*other) {
        mark(q, "DELETE", NULL);
        return refuse(q, other, err);
    }
    return ours ? 0 : error_set(err, ERR_IO, "Qdrant at %.200s does not keep what it was given", q->config.url);
}

int qdrant_claim(struct qdrant *q, struct error *err)
{
    if (q->claimed)
        return 0;
    pthread_mutex_lock(&q->admin);
    int rc = 0;
    struct error why = {0};
    if (!q->claimed && (check_version(q, &why) < 0 || take_it(q, &why) < 0)) {
        if (why.code == ERR_CONFIG) // somebody can make it good: steps wait, and spend no attempt
            why.outage = why.retryable = true;
        rc = error_copy(err, &why);
    }
    if (rc == 0)
        q->claimed = true;
    pthread_mutex_unlock(&q->admin);
    return rc;
}

// Asks for the mark: with it the server, its storage and the key have been tried. What was found is good for a second.
int qdrant_health(void *state, struct error *err)
{
    struct qdrant *q = state;
    char path[MARK_MAX + 32];
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&q->lock);
    bool ask = !q->looked_us || now - q->looked_us >= LOOK_US;
    int rc = ask ? 0 : q->is_down ? error_copy(err, &q->down) : q->refused.code ? error_copy(err, &q->refused) : 0;
    if (ask) // nobody else asks meanwhile
        q->looked_us = now;
    pthread_mutex_unlock(&q->lock);
    if (!ask)
        return rc;
    snprintf(path, sizeof path, "/collections/" QDRANT_MARK "%s/exists", q->config.owner);
    const struct qdrant_request request = {.method = "GET", .path = path, .once = true};
    _cleanup_answer_ struct qdrant_answer answer;
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    if (!js_bool(answer.result, "exists", false)) {
        q->claimed = false; // another server, or one that lost all it had: whose is it, and what has it?
        pthread_mutex_lock(&q->lock);
        qdrant_known_free(q);
        pthread_mutex_unlock(&q->lock);
    }
    struct error why = {0};
    rc = qdrant_claim(q, &why);
    pthread_mutex_lock(&q->lock);
    q->refused = why;
    pthread_mutex_unlock(&q->lock);
    return rc < 0 ? error_copy(err, &why) : 0;
}
