// SPDX-License-Identifier: Apache-2.0
// Waiting until what was uploaded can be found. Follows the changes from before the upload on, which tell of all that
// was new; what was there before may have ended before, and is asked for once.
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "cli/client.h"
#include "cli/follow.h"
#include "cli/progress.h"
#include "cli/uploader.h"

static void settle_failed(struct upload_file *file, const char *name, const char *message)
{
    enum error_code code = error_code_parse(name);
    file->end = UPLOAD_FAILED;
    file->error = malloc(sizeof *file->error);
    error_set(file->error, code ? code : ERR_INTERNAL, "%s", message ? message : "It failed without a reason");
}

// 1 when the file is settled, 0 when not yet, -1 when the server does not answer.
static int ask(struct client *client, struct upload_file *file, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *status = NULL;
    buf_puts(&path, "/api/v1/images/");
    client_segment(&path, file->id);
    buf_puts(&path, "/status");
    if (client_get(client, path.data, &status, err) < 0) {
        if (client_status(client) != 404)
            return -1;
        file->end = UPLOAD_GONE;
        return 1;
    }
    const char *text = js_str(status, "status", "");
    if (strcmp(text, "completed") == 0)
        file->end = UPLOAD_SEARCHABLE;
    else if (strcmp(text, "failed") == 0)
        settle_failed(file, js_str(js_obj(status, "error"), "code", NULL),
                      js_str(js_obj(status, "error"), "message", NULL));
    return file->end != UPLOAD_UNKNOWN;
}

static bool has_id(const struct upload_file *file)
{
    return file->outcome == UPLOAD_NEW || file->outcome == UPLOAD_DUPLICATE || file->outcome == UPLOAD_RESUMED;
}

// ---- Following

struct waiting {
    struct upload *upload;
    struct client *client;
    struct progress progress;
    struct upload_file **files; // that have an id, by it
    size_t count, settled;
    bool asked; // for what the changes behind upload->since may not tell of
};

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct upload_file *const *)a)->id, (*(struct upload_file *const *)b)->id);
}

static enum follow_next tick(void *arg, struct error *err)
{
    struct waiting *w = arg;
    progress_show(&w->progress, w->settled, 0);
    return w->settled == w->count || upload_interrupted() ? FOLLOW_END : FOLLOW_ON;
}

// What ended before the changes that are followed, or may have.
static enum follow_next ask_all(struct waiting *w, bool fresh, struct error *err)
{
    for (size_t i = 0; i < w->count; i++) {
        struct upload_file *file = w->files[i];
        if (file->end != UPLOAD_UNKNOWN || (file->outcome == UPLOAD_NEW && !fresh))
            continue;
        int rc = ask(w->client, file, err);
        if (rc < 0)
            return upload_worth_retrying(w->client, err) ? FOLLOW_AGAIN : FOLLOW_FAIL;
        w->settled += rc == 1;
        enum follow_next next = tick(w, err);
        if (next != FOLLOW_ON)
            return next;
    }
    w->asked = true;
    return tick(w, err);
}

static enum follow_next standing(void *arg, struct error *err)
{
    struct waiting *w = arg;
    return w->asked ? tick(w, err) : ask_all(w, w->upload->since < 0, err);
}

static void settle(struct upload_file *file, const json_t *event, const char *status)
{
    if (strcmp(status, "completed") == 0) {
        file->end = UPLOAD_SEARCHABLE;
    } else if (strcmp(status, "failed") == 0) {
        settle_failed(file, js_str(event, "errorCode", NULL), js_str(event, "errorMessage", NULL));
    } else {
        file->end = UPLOAD_GONE;
    }
}

static enum follow_next on_event(void *arg, const json_t *event, struct error *err)
{
    struct waiting *w = arg;
    struct upload_file key, *wanted = &key;
    if (strcmp(js_str(event, "type", ""), "gap") == 0)
        return ask_all(w, true, err);
    snprintf(key.id, sizeof key.id, "%s", js_str(event, "imageId", ""));
    struct upload_file **at = bsearch(&wanted, w->files, w->count, sizeof *at, by_id);
    while (at && at > w->files && strcmp(at[-1]->id, key.id) == 0)
        at--;
    for (; at && at < w->files + w->count && strcmp((*at)->id, key.id) == 0; at++)
        if ((*at)->end == UPLOAD_UNKNOWN) {
            settle(*at, event, js_str(event, "status", ""));
            w->settled++;
        }
    return tick(w, err);
}

static int follow_all(struct waiting *w, struct error *err)
{
    struct upload *u = w->upload;
    _cleanup_client_ struct client *stream = NULL;
    struct follow f = {.statuses = "completed,failed,deleting,deleted",
                       .since = u->since,
                       .retries = u->retries,
                       .event = on_event,
                       .standing = standing,
                       .tick = tick,
                       .arg = w};
    if (client_new(u->server, u->tenant, &stream, err) < 0)
        return -1;
    return follow_run(stream, &f, err);
}

int upload_wait(struct upload *u, struct error *err)
{
    _cleanup_client_ struct client *client = NULL;
    struct waiting w = {.upload = u};
    if (client_new(u->server, u->tenant, &client, err) < 0)
        return -1;
    w.client = client;
    w.files = calloc(u->count + 1, sizeof *w.files);
    if (!w.files)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    for (size_t i = 0; i < u->count; i++)
        if (has_id(&u->files[i]))
            w.files[w.count++] = &u->files[i];
    qsort(w.files, w.count, sizeof *w.files, by_id);
    progress_start(&w.progress, "Processing", w.count, 0, u->quiet);
    int rc = w.count ? follow_all(&w, err) : 0;
    progress_end(&w.progress);
    free(w.files);
    return rc;
}
