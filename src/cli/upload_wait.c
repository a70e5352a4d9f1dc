// SPDX-License-Identifier: Apache-2.0
// Waiting until what was uploaded can be found. Asks for the oldest that is not settled, as that is what is settled
// next, and then for its successors without a pause: about one question an image.
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/client.h"
#include "cli/progress.h"
#include "cli/uploader.h"

enum { FIRST_WAIT_MS = 20, LONGEST_WAIT_MS = 1000 };

static void settle_failed(struct upload_file *file, const json_t *status)
{
    const json_t *error = js_obj(status, "error");
    enum error_code code = error_code_parse(js_str(error, "code", NULL));
    file->end = UPLOAD_FAILED;
    file->error = malloc(sizeof *file->error);
    error_set(file->error, code ? code : ERR_INTERNAL, "%s", js_str(error, "message", "It failed without a reason"));
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
        settle_failed(file, status);
    return file->end != UPLOAD_UNKNOWN;
}

static bool has_id(const struct upload_file *file)
{
    return file->outcome == UPLOAD_NEW || file->outcome == UPLOAD_DUPLICATE || file->outcome == UPLOAD_RESUMED;
}

static int wait_for(struct upload *u, struct client *client, struct upload_file *file, struct progress *progress,
                    uint64_t done, struct error *err)
{
    int64_t wait = FIRST_WAIT_MS;
    unsigned seed = (unsigned)clock_mono_us();
    for (unsigned lost = 0; !upload_interrupted();) {
        int settled = ask(client, file, err);
        progress_show(progress, done, 0);
        if (settled == 1)
            return 0;
        if (settled < 0 && (lost >= u->retries || !upload_worth_retrying(client, err)))
            return -1;
        if (settled < 0)
            wait = upload_back_off_ms(lost++, client_retry_after_ms(client), &seed);
        else
            lost = 0;
        clock_sleep_ms(wait);
        wait = wait * 3 / 2 < LONGEST_WAIT_MS ? wait * 3 / 2 : LONGEST_WAIT_MS;
    }
    return 0;
}

int upload_wait(struct upload *u, struct error *err)
{
    _cleanup_client_ struct client *client = NULL;
    struct progress progress;
    uint64_t total = 0, done = 0;
    int rc = 0;
    if (client_new(u->server, u->tenant, &client, err) < 0)
        return -1;
    for (size_t i = 0; i < u->count; i++)
        total += has_id(&u->files[i]);
    progress_start(&progress, "Processing", total, 0, u->quiet);
    for (size_t i = 0; i < u->count && rc == 0 && !upload_interrupted(); i++)
        if (has_id(&u->files[i]))
            rc = wait_for(u, client, &u->files[i], &progress, done++, err);
    progress_end(&progress);
    return rc;
}
