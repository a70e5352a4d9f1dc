// SPDX-License-Identifier: Apache-2.0
// deeplens events [--follow]
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/text.h"
#include "cli/uploader.h"

struct events_options {
    const char *images, *statuses, *tenant;
    int64_t since;
    bool follow, json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct events_options, follow, "follow", "Go on with what comes, until it is interrupted"),
    INT_OPTION(struct events_options, since, "since", "N", 0, INT64_MAX,
               "Only behind this number (with --follow: from now on; else: all that are kept)"),
    TEXT_OPTION(struct events_options, images, "image", "ID,ID", "Only of these"),
    TEXT_OPTION(struct events_options, statuses, "status", "A,B",
                "Only these: uploaded, processing, completed, failed, deleting, deleted"),
    TEXT_OPTION(struct events_options, tenant, "tenant", "NAME", "Whose images"),
    FLAG_OPTION(struct events_options, json, "json", "Print one JSON document a change, one a line"),
    END_OPTION,
};

struct printing {
    const struct events_options *o;
    struct follow follow;
    int64_t until; // ends there; < 0: never
    bool told;     // that the connection was lost
};

static void print_change(const json_t *event)
{
    char id[80];
    _cleanup_buf_ struct buf name = BUF_INIT(8192);
    text_fit(&name, js_str(event, "fileName", ""), 0);
    snprintf(id, sizeof id, "%s", js_str(event, "imageId", "-"));
    printf("%" PRId64 "  %s  %s  %-10s  %s", js_int(event, "seq", 0), js_str(event, "timestamp", "-"), id,
           js_str(event, "status", "-"), name.len ? name.data : "");
    if (js_str(event, "errorCode", NULL)) {
        _cleanup_buf_ struct buf why = BUF_INIT(8192);
        text_fit(&why, js_str(event, "errorMessage", ""), 0);
        printf("  %s (%s)", why.len ? why.data : "", js_str(event, "errorCode", ""));
    }
    putchar('\n');
}

static enum follow_next up_to(struct printing *p)
{
    return upload_interrupted() || (p->until >= 0 && p->follow.since >= p->until) ? FOLLOW_END : FOLLOW_ON;
}

static enum follow_next on_event(void *arg, const json_t *event, struct error *err)
{
    struct printing *p = arg;
    p->told = false;
    if (p->o->json)
        cli_print_json(event);
    else if (strcmp(js_str(event, "type", ""), "gap") == 0)
        fprintf(stderr, "Changes before this point are not kept any more.\n");
    else
        print_change(event);
    return fflush(stdout) != 0 ? FOLLOW_END : up_to(p); // the program's end says that it could not be written
}

static enum follow_next on_number(void *arg, struct error *err)
{
    struct printing *p = arg;
    p->told = false;
    return up_to(p);
}

static enum follow_next on_tick(void *arg, struct error *err)
{
    return upload_interrupted() ? FOLLOW_END : FOLLOW_ON;
}

static void on_lost(void *arg, const struct error *why)
{
    struct printing *p = arg;
    if (!p->told)
        fprintf(stderr, "deeplens: %s; it is tried again\n", why->message);
    p->told = true;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct events_options o = {.since = -1};
    int code;
    if (cli_parse(cli, &command_events, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    struct printing p = {.o = &o, .until = -1};
    if (cli_connect(cli, false, o.tenant, &client, &err) < 0 || (!o.follow && follow_now(client, &p.until, &err) < 0))
        return cli_fail(cli, &err);
    p.follow = (struct follow){.images = o.images,
                               .statuses = o.statuses,
                               .since = o.since < 0 && !o.follow ? 0 : o.since,
                               .retries = o.follow ? UINT_MAX : 0,
                               .event = on_event,
                               .standing = on_number,
                               .caught_up = on_number,
                               .tick = on_tick,
                               .lost = on_lost,
                               .arg = &p};
    upload_catch_signals();
    if (follow_run(client, &p.follow, &err) < 0)
        return cli_fail(cli, &err);
    return upload_interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

const struct command command_events = {
    .name = "events",
    .usage = "[OPTIONS]",
    .summary = "Show changes of images as they happen, or those that are kept",
    .details =
        "Each change has a number. --since continues behind one, so that nothing is missed and nothing comes twice; a "
        "lost connection is made anew in that way.",
    .examples = "deeplens events --follow\n"
                "deeplens events --follow --status completed,failed --json | jq -r .imageId\n"
                "deeplens events --since 4711",
    .options = options,
    .run = run,
};
