// SPDX-License-Identifier: Apache-2.0
// deeplens doctor: what is wrong, and what to do about it.
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <microhttpd.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <vips/vips.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/text.h"

struct doctor_options {
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct doctor_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

enum verdict { OK, WARN, FAIL };

struct doctor {
    json_t *checks;
    bool json;
    bool failed;
};

// One line; `todo` says what to do about it (NULL: nothing).
static void say(struct doctor *d, enum verdict verdict, const char *name, const char *todo, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void say(struct doctor *d, enum verdict verdict, const char *name, const char *todo, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    _cleanup_free_ char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    d->failed = d->failed || verdict == FAIL;
    _cleanup_free_ char *clean = js_utf8(text, (size_t)len);
    json_array_append_new(d->checks, json_pack("{s:s, s:s, s:s*, s:s*}", "name", name, "result", words[verdict], "text",
                                               clean, "todo", todo));
    if (d->json)
        return;
    printf("%-5s %-14s %s\n", words[verdict], name, clean);
    if (todo)
        printf("%20s -> %s\n", "", todo);
}

static void check_versions(struct doctor *d)
{
    say(d, OK, "version", NULL, "deeplens %s", DEEPLENS_VERSION);
    say(d, OK, "libraries", NULL, "libvips %s, SQLite %s, libmicrohttpd %s, libcurl %s, libsodium %s, jansson %s",
        vips_version_string(), sqlite3_libversion(), MHD_get_version(), curl_version_info(CURLVERSION_NOW)->version,
        sodium_version_string(), jansson_version_str());
}

// As a configuration file; malloc'ed, NULL without memory.
static char *configuration_text(const struct conf *conf)
{
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);
    if (!memory)
        return NULL;
    fputc('\n', memory); // so that each line stands between two
    conf_print_effective(conf, memory);
    fclose(memory);
    return text;
}

// Whether `text` has the line just so, with its ends.
static bool has_line(const char *text, const char *line)
{
    char whole[4096];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    return strstr(text, whole) != NULL;
}

// People see what was set: all of it would bury the other checks.
static void check_configuration(struct doctor *d, const struct conf *conf)
{
    struct conf plain = {0};
    conf_init(&plain);
    _cleanup_free_ char *text = configuration_text(conf), *defaults = configuration_text(&plain);
    conf_free(&plain);
    if (!text || !defaults)
        return;
    if (d->json) {
        say(d, OK, "configuration", NULL, "%s", text + 1);
        return;
    }
    say(d, OK, "configuration", NULL, "what is not as by default (--json has all of it):");
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (!has_line(defaults, line))
            printf("%20s %s\n", "", line);
}

// The process that holds a lock on a file directly in `folder`, by /proc/locks; 0 when there is none.
static int lock_holder(const char *folder)
{
    unsigned long inodes[256];
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) && count < ARRAY_LEN(inodes);)
        if (entry->d_type == DT_REG)
            inodes[count++] = entry->d_ino;
    if (dir)
        closedir(dir);
    FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    int holder = 0;
    while (locks && !holder && fgets(line, sizeof line, locks)) {
        int pid;
        unsigned long inode;
        if (sscanf(line, "%*d: %*s %*s %*s %d %*x:%*x:%lu", &pid, &inode) != 2)
            continue;
        for (size_t i = 0; i < count; i++)
            holder = inodes[i] == inode ? pid : holder;
    }
    if (locks)
        fclose(locks);
    return holder;
}

static void check_space(struct doctor *d, const struct conf *conf)
{
    struct statvfs fs;
    char free_text[TEXT_SHORT], reserve[TEXT_SHORT];
    if (statvfs(conf->data_dir, &fs) < 0)
        return;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    text_bytes(left, free_text);
    text_bytes((uint64_t)conf->disk_reserve, reserve);
    if (left < (uint64_t)conf->disk_reserve)
        say(d, FAIL, "disk", "Make room, or move data.dir to a larger disk",
            "%s free; uploads are refused below %s (disk.reserve)", free_text, reserve);
    else if (left / 8 < (uint64_t)conf->disk_reserve)
        say(d, WARN, "disk", "Make room soon", "%s free; uploads are refused below %s (disk.reserve)", free_text,
            reserve);
    else
        say(d, OK, "disk", NULL, "%s free", free_text);
}

static bool check_folder(struct doctor *d, const struct conf *conf)
{
    struct stat st;
    if (stat(conf->data_dir, &st) < 0 && errno == ENOENT) {
        say(d, WARN, "data", "`deeplens serve` makes it", "%s does not exist yet", conf->data_dir);
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        say(d, FAIL, "data", "Choose another folder with --data-dir", "%s is no folder", conf->data_dir);
        return false;
    }
    if (access(conf->data_dir, R_OK | W_OK | X_OK) < 0) {
        say(d, FAIL, "data", "Run as the user who owns it, or choose another folder with --data-dir",
            "%s cannot be written: %s", conf->data_dir, strerrordesc_np(errno));
        return false;
    }
    int holder = lock_holder(conf->data_dir);
    if (holder)
        say(d, OK, "data", NULL, "%s, in use by process %d", conf->data_dir, holder);
    else
        say(d, OK, "data", NULL, "%s, in use by nobody", conf->data_dir);
    check_space(d, conf);
    return true;
}

// Says who answers. 0 when there is a client to ask further.
static int check_server(struct doctor *d, struct cli *cli, bool has_folder, struct client **out)
{
    struct error err;
    _cleanup_json_ json_t *version = NULL;
    if (cli_connect(cli, has_folder, NULL, out, &err) < 0) {
        bool broken = cli->server_given || has_folder;
        say(d, broken ? FAIL : WARN, "server", "Start one with `deeplens serve`, or name another with --server", "%s",
            err.message);
        return -1;
    }
    if (cli->app) {
        say(d, WARN, "server", "Start one with `deeplens serve`",
            "None answers at %s; the data directory was opened instead", cli->conf->server);
        return 0;
    }
    if (client_get(*out, "/api/v1/version", &version, &err) < 0) {
        say(d, FAIL, "server", NULL, "%s", err.message);
        return -1;
    }
    const char *theirs = js_str(version, "version", "?");
    bool same = strcmp(theirs, DEEPLENS_VERSION) == 0;
    say(d, same ? OK : WARN, "server", same ? NULL : "Use the same version on both sides", "%s %s answers at %s",
        js_str(version, "name", "deeplens"), theirs, client_server(*out));
    return 0;
}

static void check_ready(struct doctor *d, struct client *client)
{
    _cleanup_json_ json_t *ready = NULL;
    struct error err;
    int status;
    if (client_probe(client, "/readyz", &ready, &status, &err) < 0) {
        say(d, FAIL, "ready", "See the server's log", "%s", err.message);
        return;
    }
    _cleanup_free_ char *checks = js_obj(ready, "checks") ? js_dumps(js_obj(ready, "checks")) : NULL;
    if (status == 200)
        say(d, OK, "ready", NULL, "The server takes work");
    else
        say(d, FAIL, "ready", "See the server's log", "The server takes no work (HTTP %d): %s", status,
            checks ? checks : js_str(ready, "detail", "no reason given"));
}

static void check_ledger(struct doctor *d, struct client *client)
{
    _cleanup_json_ json_t *ledger = NULL;
    struct error err;
    if (client_get(client, "/api/v1/admin/ledger", &ledger, &err) < 0) {
        say(d, FAIL, "ledger", NULL, "%s", err.message);
        return;
    }
    bool closes = js_bool(ledger, "closes", false);
    say(d, closes ? OK : FAIL, "ledger",
        closes ? NULL : "This is a defect: please report it with `deeplens ledger --json`",
        "%s: %" PRId64 " accepted = %" PRId64 " searchable + %" PRId64 " failed + %" PRId64 " deleted + %" PRId64
        " in flight",
        closes ? "It closes" : "It does not close", js_int(ledger, "accepted", 0), js_int(ledger, "searchable", 0),
        js_int(ledger, "failed", 0), js_int(ledger, "deleted", 0), js_int(ledger, "inFlight", 0));
}

static void check_lag(struct doctor *d, struct client *client, bool served)
{
    _cleanup_json_ json_t *groups = NULL;
    struct error err;
    size_t i;
    json_t *group;
    int64_t lag = 0;
    int idle = 0;
    if (client_get(client, "/api/v1/admin/groups", &groups, &err) < 0) {
        say(d, FAIL, "lag", NULL, "%s", err.message);
        return;
    }
    json_array_foreach(js_arr(groups, "groups"), i, group)
    {
        lag += js_int(group, "lag", 0);
        idle += js_int(group, "lag", 0) > 0 && js_int(group, "members", 0) == 0;
    }
    if (idle)
        say(d, WARN, "lag", served ? "See the server's log: nobody consumes these" : "`deeplens serve` works them off",
            "%" PRId64 " events wait, and %d groups that have some have no member", lag, idle);
    else
        say(d, OK, "lag", NULL, "%" PRId64 " events wait in %zu groups", lag,
            json_array_size(js_arr(groups, "groups")));
}

static void check_dead_letters(struct doctor *d, struct client *client)
{
    enum { MOST = 1000 };
    _cleanup_json_ json_t *letters = NULL;
    struct error err;
    if (client_get(client, "/api/v1/admin/deadletters?limit=1000", &letters, &err) < 0) {
        say(d, FAIL, "dead letters", NULL, "%s", err.message);
        return;
    }
    size_t count = json_array_size(js_arr(letters, "items"));
    if (count)
        say(d, WARN, "dead letters", "`deeplens dlq list` says why; `deeplens dlq replay ID` tries again", "%zu%s",
            count, count >= MOST ? " or more" : "");
    else
        say(d, OK, "dead letters", NULL, "none");
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct doctor_options o = {0};
    int code;
    if (cli_parse(cli, &command_doctor, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *checks = json_array();
    _cleanup_client_ struct client *client = NULL;
    struct doctor d = {.checks = checks, .json = o.json};
    check_versions(&d);
    check_configuration(&d, cli->conf);
    bool has_folder = check_folder(&d, cli->conf);
    if (check_server(&d, cli, has_folder, &client) == 0) {
        if (!cli->app)
            check_ready(&d, client);
        check_ledger(&d, client);
        check_lag(&d, client, !cli->app);
        check_dead_letters(&d, client);
    }
    if (o.json) {
        _cleanup_json_ json_t *document = json_pack("{s:b, s:O}", "ok", !d.failed, "checks", checks);
        cli_print_json(document);
    }
    return d.failed ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_doctor = {
    .name = "doctor",
    .usage = "[OPTIONS]",
    .summary = "Check that everything is well, and say what to do where it is not",
    .details = "Each line is ok, warn or fail. Fails when one is fail.",
    .examples = "deeplens doctor\ndeeplens doctor --json | jq '.checks[] | select(.result != \"ok\")'",
    .options = options,
    .run = run,
};
