// SPDX-License-Identifier: Apache-2.0
// Putting the parts together, and taking them apart in the reverse order.
#include "cli/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "api/api.h"
#include "backends/registry.h"
#include "base/cleanup.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/admin.h"
#include "flow/alerts.h"
#include "flow/hook.h"
#include "flow/near.h"
#include "flow/rebuild.h"
#include "flow/relay.h"
#include "flow/reply.h"
#include "flow/step.h"
#include "flow/upkeep.h"
#include "flow/watch.h"
#include "media/image.h"
#include "media/video/video.h"
#include "obs/alert.h"
#include "obs/metrics.h"

struct app {
    const struct conf *conf;
    int lock_fd;
    struct ports ports;
    struct flow flow;
    bool flow_open;
    struct runner *runner;
    struct alerts *alerts;
    struct alert_config mail; // and the rest of how people are told
    struct watch *watch;
    struct api api;
    struct http_route routes[API_ROUTES_MAX];
    struct http_server *server;
};

// --- The data directory

static int make_folders(const char *path, struct error *err)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return error_set(err, ERR_CONFIG, "The data directory's name is too long");
    for (char *p = part + 1;; p++) {
        char end = *p;
        if (end != '/' && end)
            continue;
        *p = 0;
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return error_errno(err, ERR_CONFIG, errno, "The data directory %s cannot be made", part);
        *p = end;
        if (!end)
            return 0;
    }
}

static int in_use(const char *dir, int fd, struct error *err)
{
    char pid[32] = "";
    ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    pid[got > 0 ? got : 0] = 0;
    pid[strcspn(pid, "\n")] = 0;
    return error_set(err, ERR_DATA_DIR_IN_USE, "The data directory %s is in use by process %s", dir, *pid ? pid : "?");
}

static int lock_data_dir(const char *dir, unsigned flags, int *out, struct error *err)
{
    if (!(flags & APP_MUST_EXIST) && make_folders(dir, err) < 0)
        return -1;
    _cleanup_free_ char *path = NULL;
    if (asprintf(&path, "%s/lock", dir) < 0)
        abort();
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, ERR_CONFIG, errno, "The data directory %s cannot be opened", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return in_use(dir, fd, err);
    char pid[32];
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
        return error_errno(err, ERR_IO, errno, "The data directory %s cannot be written", dir);
    *out = take_fd(fd);
    return 0;
}

// --- The parts

static bool is_loopback(const char *listen)
{
    return !strchr(listen, ':') || strncmp(listen, "127.", 4) == 0 || strncmp(listen, "localhost:", 10) == 0 ||
           strncmp(listen, "[::1]:", 6) == 0;
}

static int check_auth(const struct conf *conf, struct error *err)
{
    if (strcmp(conf->auth, "off") == 0 || is_loopback(conf->http_listen))
        return 0;
    return error_set(err, ERR_CONFIG,
                     "http.listen is %s, where others could reach a server that asks nobody for a key. Listen on "
                     "127.0.0.1 behind a proxy that authenticates, or say --auth off to trust everyone who can connect",
                     conf->http_listen);
}

static int add_models(struct app *app, struct error *err)
{
    size_t count;
    const struct extractor *x = &app->ports.extractor;
    const struct extractor_model *models = x->ops->models(x->state, &count);
    for (size_t i = 0; i < count; i++) {
        if (app->flow.model_count == FLOW_MODELS_MAX)
            return error_set(err, ERR_CONFIG, "More than %d models are configured", FLOW_MODELS_MAX);
        app->flow.models[app->flow.model_count++] = (struct flow_model){x, &models[i]};
    }
    return 0;
}

static void settle_flow(struct app *app)
{
    const struct conf *c = app->conf;
    struct flow *f = &app->flow;
    f->meta = app->ports.meta;
    f->blob = app->ports.blob;
    f->log = app->ports.log;
    f->index = app->ports.index;
    f->mounts = app->ports.mounts;
    f->mount_count = app->ports.mount_count;
    f->settings = (struct flow_settings){
        .upload_max_bytes = (uint64_t)c->upload_max_bytes,
        .limits = {.max_pixels = (uint64_t)c->image_max_pixels, .max_edge = (int)c->image_max_edge},
        .thumbnail_edge = (int)c->thumbnail_edge,
        .thumbnail_quality = (int)c->thumbnail_quality,
        .video_max_bytes = (uint64_t)c->video_max_bytes,
        .video = {.max_pixels = (uint64_t)c->video_max_pixels,
                  .max_edge = (int)c->image_max_edge,
                  .frame_edge = (int)c->thumbnail_edge,
                  .threads = (int)c->video_threads,
                  .memory = (uint64_t)c->video_memory,
                  .time_ms = c->video_time,
                  .silence_ms = c->video_silence,
                  .rules = {.interval_ms = c->video_interval,
                            .per_minute = (int)c->video_per_minute,
                            .max_frames = (int)c->video_max_frames}},
        .model_default = c->model_default,
        .tenants_auto_create = c->tenants_auto_create,
        .disk_reserve = (uint64_t)c->disk_reserve,
        .pixel_cache = (size_t)c->pixel_cache,
        .retry_attempts = (int)c->retry_attempts,
        .retry_base_ms = c->retry_base,
        .retry_max_ms = c->retry_max,
        .search_k = (size_t)c->search_k,
        .search_max_k = (size_t)c->search_max_k,
        .search_closer = (size_t)c->search_closer,
        .search_approximate = strcmp(c->search_accuracy, "approximate") == 0,
        .log_retention_bytes = c->log_retention_bytes,
        .outbox_max = (uint64_t)c->outbox_max,
        .lag_limit = c->lag_alert,
        .lag_interval_ms = c->lag_interval,
        .age_limit_ms = c->alert_age,
        .disk_low = (uint64_t)c->alert_disk,
        .reconcile_ms = c->reconcile_after,
        .hook_allow = c->webhook_allow,
        .hook_attempts = (int)c->webhook_attempts,
        .hook_timeout_ms = c->webhook_timeout,
        .hook_retry_base_ms = c->webhook_retry_base,
        .hook_retry_max_ms = c->webhook_retry_max,
        .hook_keep_ms = c->webhook_keep,
        .hook_backlog = (uint64_t)c->webhook_backlog,
        .whatsapp = {.app_secret = c->whatsapp_app_secret,
                     .verify_token = c->whatsapp_verify_token,
                     .access_token = c->whatsapp_access_token,
                     .api_url = c->whatsapp_api_url,
                     .media_timeout_ms = c->whatsapp_media_timeout,
                     .tenant = c->whatsapp_tenant,
                     .phone_number_id = c->whatsapp_phone_number_id,
                     .link_url = c->whatsapp_link_url,
                     .senders = (int)c->whatsapp_senders,
                     .rate = c->whatsapp_rate,
                     .send_timeout_ms = c->whatsapp_send_timeout},
        .format = {.flat = strcmp(c->events_format, "flat") == 0, .bare_ids = strcmp(c->events_ids, "bare") == 0},
    };
}

static int settle_duplicates(struct app *app, struct error *err)
{
    const char *score = app->conf->duplicates_score;
    struct flow_settings *s = &app->flow.settings;
    enum near_policy policy = NEAR_KEEP;
    near_policy_parse(app->conf->duplicates_policy, &policy); // one of a choice
    s->duplicate_policy = policy;
    if (strcmp(score, "auto") == 0 || strcmp(score, "off") == 0) {
        s->duplicate_score = *score == 'a' ? 0 : 2;
        return 0;
    }
    char *end;
    s->duplicate_score = strtod(score, &end);
    if (*end || !(s->duplicate_score > 0 && s->duplicate_score <= 1))
        return error_set(err, ERR_CONFIG,
                         "duplicates.score is auto, off or a number above 0 and up to 1, not \"%.40s\"", score);
    return 0;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; *at; at += strcspn(at, ",")) {
        at += strspn(at, ", ");
        if (strncmp(at, word, len) == 0 && strchr(", ", at[len]))
            return true;
    }
    return false;
}

// On Kafka the messages' topic and group are called as the other system's variables say.
static int settle_messages(struct app *app, struct error *err)
{
    const char *group = app->conf->kafka_message_group, *roles = app->conf->roles;
    app->flow.settings.messages_elsewhere = !has_word(roles, "all") && !has_word(roles, "message");
    if (strcmp(app->conf->eventlog_backend, "kafka") != 0)
        return 0;
    for (int s = 0; s < STEP_COUNT; s++)
        if (s != STEP_MESSAGE && strcmp(steps[s].group, group) == 0)
            return error_set(err, ERR_CONFIG, "kafka.message_group: %.80s is the group of step %s", group,
                             steps[s].name);
    if (!*group)
        return error_set(err, ERR_CONFIG, "kafka.message_group may not be empty");
    app->flow.settings.message_group = group;
    return event_topic_rename(TOPIC_MESSAGES, app->conf->kafka_message_topic, err) < 0
               ? error_prefix(err, "kafka.message_topic")
               : 0;
}

static int settle_upkeep(struct app *app, struct error *err)
{
    enum { LEASE_MS = 30000 };
    const struct conf *c = app->conf;
    struct upkeep_settings *s = &app->flow.settings.upkeep;
    *s = (struct upkeep_settings){
        .task = {[UPKEEP_SWEEP] = {c->sweep_schedule, c->sweep_dry_run},
                 [UPKEEP_OPTIMISE] = {c->optimise_schedule, false},
                 [UPKEEP_SCRUB] = {c->scrub_schedule, true},
                 [UPKEEP_THUMBNAILS] = {c->thumbnails_schedule, false}},
        .rate = c->maintenance_rate,
        .keep_ms = c->maintenance_keep,
        .lease_ms = strcmp(c->meta_backend, "sqlite") == 0 ? 0 : LEASE_MS, // those records are this process' alone
        .sweep_grace_ms = c->sweep_grace,
        .scrub_nights = (int)c->scrub_nights,
    };
    for (int t = 0; t < UPKEEP_TASKS; t++) {
        struct error why = {0};
        if (s->task[t].schedule && upkeep_check_schedule(s->task[t].schedule, &why) < 0)
            return error_set(err, ERR_CONFIG, "%s.schedule: %s", upkeep_name((enum upkeep_task)t), why.message);
    }
    return 0;
}

static int open_flow(struct app *app, struct error *err)
{
    settle_flow(app);
    if (settle_messages(app, err) < 0 || settle_duplicates(app, err) < 0 || settle_upkeep(app, err) < 0)
        return -1;
    if (add_models(app, err) < 0 || flow_open(&app->flow, err) < 0)
        return -1;
    app->flow_open = true;
    return admin_recreate_resume(&app->flow, err);
}

static int start_alerts(struct app *app, struct error *err)
{
    const struct conf *c = app->conf;
    app->mail = (struct alert_config){.webhook = c->alert_webhook,
                                      .command = c->alert_command,
                                      .smtp = c->alert_smtp,
                                      .smtp_user = c->alert_smtp_user,
                                      .smtp_password = c->alert_smtp_password,
                                      .smtp_ca_file = c->alert_smtp_ca_file,
                                      .mail_from = c->alert_email_from,
                                      .mail_to = c->alert_email_to,
                                      .off = c->alert_off,
                                      .interval_ms = c->alert_interval,
                                      .repeat_ms = c->alert_repeat,
                                      .timeout_ms = c->alert_timeout};
    if (alerts_start(&app->mail, &app->alerts, err) < 0)
        return -1;
    app->flow.alerts = app->alerts;
    app->flow.settings.mail = *c->alert_smtp ? &app->mail : NULL;
    return flow_alerts_open(&app->flow, err);
}

// What the catalogue says and the log does not hold to: told, never changed.
static void tell_drift(struct app *app)
{
    _cleanup_json_ json_t *report = NULL;
    size_t i;
    json_t *topic;
    if (admin_topics_ensure(&app->flow, true, &report, NULL) < 0)
        return;
    json_array_foreach(js_arr(report, "topics"), i, topic)
    {
        if (strcmp(js_str(topic, "state", ""), "differs") == 0)
            log_warn("serve", "the topic %s is not as the catalogue says; see `deeplens topics ensure`",
                     js_str(topic, "name", ""));
    }
}

// --- Roles

static int check_role_names(const char *roles, struct error *err)
{
    for (const char *at = roles + strspn(roles, ", "); *at; at += strspn(at, ", ")) {
        size_t len = strcspn(at, ", ");
        bool known = len == 3 && strncmp(at, "all", len) == 0;
        for (int s = 0; s < STEP_COUNT; s++)
            known |= strlen(steps[s].role) == len && strncmp(steps[s].role, at, len) == 0;
        if (!known)
            return error_set(err, ERR_CONFIG,
                             "roles: \"%.*s\" is none of all, api, image, video, extract, index, maintenance, message",
                             (int)(len < 64 ? len : 64), at);
        at += len;
    }
    return 0;
}

// The steps that run elsewhere. What ends in this data directory can be done by its process alone.
static int choose_steps(const struct app *app, unsigned *without, struct error *err)
{
    const char *roles = app->conf->roles;
    unsigned left = 0;
    if (check_role_names(roles, err) < 0)
        return -1;
    for (int s = 0; s < STEP_COUNT && !has_word(roles, "all"); s++) {
        const char *role = steps[s].role;
        if (has_word(roles, role))
            continue;
        left |= 1U << s;
        if (strcmp(role, "image") != 0 && strcmp(role, "video") != 0 && strcmp(role, "extract") != 0 &&
            strcmp(role, "message") != 0)
            return error_set(
                err, ERR_CONFIG,
                "roles leaves out %s, which nobody else can do: its effects are in this data directory. Only "
                "image, video, extract and message can be left to others",
                role);
        if (app->flow.log.ops->caps & ELOG_TRANSACTIONAL)
            return error_set(
                err, ERR_CONFIG,
                "roles leaves out %s, and nobody else can do it: the embedded event log is this process' alone. "
                "Others reach the events with eventlog.backend = kafka",
                role);
    }
    *without = left;
    return 0;
}

static int start_runner(struct app *app, struct error *err)
{
    const struct conf *c = app->conf;
    unsigned without = 0;
    if (choose_steps(app, &without, err) < 0)
        return -1;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const struct runner_config config = {
        .cpu_workers = c->cpu_workers   ? (int)c->cpu_workers
                       : processors > 0 ? (int)processors
                                        : 1,
        .io_workers = (int)c->io_workers,
        .video_workers = (int)c->video_workers,
        .message_workers = (int)c->message_workers,
        .queue_events = (size_t)c->queue_events,
        .queue_bytes = (size_t)c->queue_bytes,
        .without = without,
    };
    if (!(app->flow.log.ops->caps & ELOG_TRANSACTIONAL) && relay_start(&app->flow, &app->flow.relay, err) < 0)
        return -1;
    return runner_start(&app->flow, &config, &app->runner, err);
}

static int start_rebuilder(struct app *app, struct error *err)
{
    return rebuilder_start(&app->flow, app->conf->rebuild_search_latency * 1000, &app->flow.rebuilder, err);
}

static int start_server(struct app *app, unsigned flags, struct error *err)
{
    const struct conf *c = app->conf;
    if (flags & APP_LOG_ALONE)
        api_routes_log(app->routes);
    else
        api_routes(&app->flow, app->routes);
    const struct http_config config = {
        .listen = flags & APP_NO_WORKERS ? "127.0.0.1:0" : c->http_listen,
        .poll_threads = (unsigned)c->http_poll_threads,
        .workers = (unsigned)c->http_workers,
        .waiters = (unsigned)c->http_upload_workers,
        .max_queue = (unsigned)c->http_queue,
        .max_connections = (unsigned)c->http_connections,
        .idle_timeout_s = (unsigned)(c->http_idle_timeout / 1000),
        .drain_timeout_s = (unsigned)(c->http_drain_timeout / 1000),
        .routes = app->routes,
        .ctx = &app->api,
        .on_done = api_on_done,
    };
    return http_start(&config, &app->server, err);
}

static int open_parts(struct app *app, unsigned flags, struct error *err)
{
    const char *dir = app->conf->data_dir;
    if (check_auth(app->conf, err) < 0 || image_init(err) < 0 || lock_data_dir(dir, flags, &app->lock_fd, err) < 0 ||
        registry_open(app->conf, dir, &app->ports, err) < 0 || open_flow(app, err) < 0 || start_alerts(app, err) < 0)
        return -1;
    if (!(flags & APP_NO_WORKERS)) {
        tell_drift(app);
        if (start_runner(app, err) < 0 || start_rebuilder(app, err) < 0 ||
            upkeep_start(&app->flow, &app->flow.upkeep, err) < 0 ||
            replies_start(&app->flow, &app->flow.replies, err) < 0 ||
            watch_start(&app->flow, app->runner, &app->watch, err) < 0)
            return -1;
    }
    app->api.flow = &app->flow;
    app->api.runner = app->runner;
    if (!(flags & APP_NO_WORKERS)) {
        if (live_start(&app->flow, app->conf->live_keep, &app->api.live, err) < 0 ||
            hooks_start(&app->flow, app->api.live, &app->flow.hooks, err) < 0)
            return -1;
        app->api.hub = hub_new(app->api.live);
    }
    return start_server(app, flags, err);
}

static int open_log(struct app *app, unsigned flags, struct error *err)
{
    if (registry_open_log(app->conf, &app->ports, err) < 0)
        return -1;
    settle_flow(app);
    if (settle_messages(app, err) < 0)
        return -1;
    flow_open_log(&app->flow);
    app->flow_open = true;
    app->api.flow = &app->flow;
    return start_server(app, flags, err);
}

int app_open(const struct conf *conf, unsigned flags, struct app **out, struct error *err)
{
    struct app *app = calloc(1, sizeof *app);
    if (!app)
        return error_set(err, ERR_NO_MEMORY, "No memory to start");
    app->conf = conf;
    app->lock_fd = -1;
    metrics_init();
    if ((flags & APP_LOG_ALONE ? open_log(app, flags, err) : open_parts(app, flags, err)) < 0) {
        app_close(app);
        return -1;
    }
    *out = app;
    return 0;
}

const char *app_address(const struct app *app)
{
    return http_address(app->server);
}

void app_close(struct app *app)
{
    if (!app)
        return;
    app->api.draining = true;
    if (app->server) {
        unsigned cut = http_stop(app->server);
        if (cut)
            log_warn("serve", "%u requests were cut off after the time to drain", cut);
    }
    hub_free(app->api.hub);
    hooks_stop(app->flow.hooks);
    live_stop(app->api.live);
    watch_stop(app->watch);
    replies_stop(app->flow.replies); // whose health the watch looks at
    upkeep_stop(app->flow.upkeep);
    rebuilder_stop(app->flow.rebuilder);
    runner_stop(app->runner);
    relay_stop(app->flow.relay);
    alerts_stop(app->alerts);
    if (app->flow_open)
        flow_close(&app->flow);
    registry_close(&app->ports);
    cleanup_close(&app->lock_fd);
    free(app);
}

void app_set_worker(const char *program)
{
    registry_set_worker(program);
    video_set_worker(program);
}

int app_worker(void)
{
    return registry_worker();
}

int app_video_worker(void)
{
    return video_worker();
}
