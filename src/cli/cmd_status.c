// SPDX-License-Identifier: Apache-2.0
// deeplens status ID... [--watch]
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/uploader.h"

enum { LOOK_US = 2000 * 1000, RETRIES = 10 };

struct status_options {
    const char *tenant;
    bool watch;
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct status_options, watch, "watch", "Go on until it is completed or failed, printing each change"),
    TEXT_OPTION(struct status_options, tenant, "tenant", "NAME", "Whose they are"),
    FLAG_OPTION(struct status_options, json, "json",
                "Print one JSON document an image, one a line (with --watch one a change)"),
    END_OPTION,
};

static bool is_final(const json_t *status)
{
    const char *text = js_str(status, "status", "");
    return strcmp(text, "completed") == 0 || strcmp(text, "failed") == 0;
}

static int get_status(struct client *client, const char *id, json_t **out, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/api/v1/images/");
    client_segment(&path, id);
    buf_puts(&path, "/status");
    if (path.failed)
        return error_set(err, ERR_USAGE, "The id is too long");
    return client_get(client, path.data, out, err);
}

static void print_steps(const json_t *steps)
{
    static const struct table_column columns[] = {{"  STEP"},
                                                  {"STATUS"},
                                                  {"TOOK", .right = true},
                                                  {"ATTEMPT", .right = true},
                                                  {"MODEL", .shrink = true},
                                                  {"ERROR", .shrink = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *step;
    table_init(&t, columns);
    json_array_foreach(steps, i, step)
    {
        char name[80], took[32], attempt[24];
        json_t *error = json_object_get(step, "error");
        snprintf(name, sizeof name, "  %s", js_str(step, "step", ""));
        snprintf(took, sizeof took, "%" PRId64 " ms", js_int(step, "duration", 0));
        snprintf(attempt, sizeof attempt, "%" PRId64, js_int(step, "attempt", 1));
        table_add(&t, name, js_str(step, "status", NULL), js_int(step, "duration", -1) < 0 ? NULL : took, attempt,
                  js_str(step, "modelName", NULL),
                  json_is_string(error) ? json_string_value(error) : js_str(error, "message", NULL));
    }
    if (t.rows)
        table_print(&t);
}

static void print_status(const json_t *status)
{
    const json_t *error = js_obj(status, "error");
    const json_t *left = json_object_get(status, "estimatedTimeRemaining");
    char text[TEXT_SHORT];
    printf("%s  %s", js_str(status, "imageId", js_str(status, "videoId", "-")), js_str(status, "status", "-"));
    if (json_is_number(left) && !is_final(status))
        printf(", about %s left", text_duration(json_number_value(left), text));
    printf("\n  uploaded %s, last updated %s\n", js_str(status, "uploadedAt", "-"), js_str(status, "lastUpdated", "-"));
    if (error)
        printf("  %s (%s)\n", js_str(error, "message", "-"), js_str(error, "code", "-"));
    const json_t *frames = js_obj(status, "frames"), *progress = js_obj(status, "progress");
    if (frames)
        printf("  %" PRId64 " frames found, %" PRId64 " searchable, up to %.0f of %.0f s\n", js_int(frames, "found", 0),
               js_int(frames, "searchable", 0), js_num(progress, "position", 0), js_num(progress, "duration", 0));
    print_steps(js_arr(status, "processingSteps"));
    fflush(stdout);
}

// What must differ for --watch to print again.
static char *fingerprint(const json_t *status)
{
    _cleanup_json_ json_t *copy = json_copy((json_t *)status);
    json_object_del(copy, "estimatedTimeRemaining");
    return js_dumps(copy);
}

struct watching {
    struct client *client;
    const char *id;
    const struct status_options *o;
    char *last;
    int64_t looked_us;
    bool failed;
};

// Prints it when it is not as it was. FOLLOW_END when it will not change any more.
static enum follow_next look(void *arg, struct error *err)
{
    struct watching *w = arg;
    _cleanup_json_ json_t *status = NULL;
    w->looked_us = clock_mono_us();
    if (get_status(w->client, w->id, &status, err) < 0)
        return upload_worth_retrying(w->client, err) ? FOLLOW_AGAIN : FOLLOW_FAIL;
    _cleanup_free_ char *now = fingerprint(status);
    bool changed = !w->last || !now || strcmp(w->last, now) != 0;
    if (changed && w->o->json)
        cli_print_json(status);
    else if (changed)
        print_status(status);
    fflush(stdout);
    free(w->last);
    w->last = take_ptr(now);
    w->failed = strcmp(js_str(status, "status", ""), "failed") == 0;
    return is_final(status) ? FOLLOW_END : FOLLOW_ON;
}

static enum follow_next on_event(void *arg, const json_t *event, struct error *err)
{
    return look(arg, err);
}

// Steps and frames are no changes: they are looked at now and then.
static enum follow_next on_tick(void *arg, struct error *err)
{
    struct watching *w = arg;
    return clock_mono_us() - w->looked_us < LOOK_US ? FOLLOW_ON : look(w, err);
}

static int show(struct client *client, struct client *stream, const char *id, const struct status_options *o,
                struct error *err)
{
    struct watching w = {.client = client, .id = id, .o = o};
    struct follow f = {
        .images = id, .since = -1, .retries = RETRIES, .event = on_event, .standing = look, .tick = on_tick, .arg = &w};
    enum follow_next next = look(&w, err);
    int rc = next == FOLLOW_FAIL || next == FOLLOW_AGAIN ? -1 : 0;
    if (next == FOLLOW_ON && o->watch)
        rc = follow_run(stream, &f, err);
    free(w.last);
    return rc < 0 ? -1 : w.failed;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct status_options o = {0};
    int code;
    if (cli_parse(cli, &command_status, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL, *stream = NULL;
    struct error err;
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        client_new(client_server(client), o.tenant, &stream, &err) < 0)
        return cli_fail(cli, &err);
    code = EXIT_DONE;
    for (int i = 1; i < argc; i++) {
        int rc = show(client, stream, argv[i], &o, &err);
        if (rc < 0 && argc > 2)
            error_prefix(&err, "%.80s", argv[i]);
        if (rc < 0)
            cli_fail(cli, &err);
        if (rc)
            code = EXIT_FAILED;
    }
    return code;
}

const struct command command_status = {
    .name = "status",
    .usage = "ID... [OPTIONS]",
    .summary = "Say how far images and videos have come",
    .details = "Fails when one of them has failed, or is not there.",
    .examples =
        "deeplens status img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de\ndeeplens status --watch --json ID | jq .status",
    .options = options,
    .run = run,
};
