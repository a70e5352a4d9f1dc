// SPDX-License-Identifier: Apache-2.0
// The program itself, run as a person runs it, against a scripted server: output, exit codes, argument errors.
// argv[1]: the program.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/js.h"
#include "fake_server.h"
#include "scratch.h"

enum { OUTPUT_MAX = 1 << 20, WORDS_MAX = 24 };

static const char *program;

struct rig {
    struct fake_server *server;
    char folder[PATH_MAX];
    char server_flag[96];
    unsigned uploads;
    unsigned interrupt_at; // SIGINT goes to `child` while this upload runs; 0: never
    _Atomic pid_t child;
    bool ledger_open; // it does not close
    char upload_target[8192];
    char *search_body;
    // of the last run
    char *out, *err;
};

static char *read_file(const char *path)
{
    char *text = calloc(1, OUTPUT_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, OUTPUT_MAX - 1) : -1;
    if (fd >= 0)
        close(fd);
    assert_true(got >= 0);
    return text;
}

static const char results[] =
    "{\"results\":[{\"imageId\":\"img_1\",\"score\":0.9876,\"fileName\":\"<script>alert('x')</script>\\u001b[2J.jpg\","
    "\"tags\":[\"<i>\",\"\\\"&\"],\"uploadedAt\":\"2026-01-01T00:00:00.000Z\",\"width\":640,\"height\":480}],"
    "\"model\":\"builtin\",\"tookMs\":1.5,\"nextCursor\":null}";

static char *answer_for(struct rig *r, const struct fake_request *q, struct fake_answer *a)
{
    static const struct {
        const char *method, *prefix;
        int status;
        const char *body;
    } fixed[] = {
        {"GET", "/api/v1/version", 200, "{\"name\":\"DeepLens\",\"version\":\"0\"}"},
        {"GET", "/api/v1/images/img_1/status", 200,
         "{\"imageId\":\"img_1\",\"status\":\"completed\",\"processingSteps\":[{\"step\":\"preprocessing\",\"status\":"
         "\"completed\",\"duration\":12,\"attempt\":1}],\"uploadedAt\":\"U\",\"lastUpdated\":\"L\"}"},
        {"GET", "/api/v1/images/img_bad/status", 200,
         "{\"imageId\":\"img_bad\",\"status\":\"failed\",\"processingSteps\":[],\"error\":{\"code\":\"IMAGE_CORRUPT\","
         "\"message\":\"Broken\"}}"},
        {"GET", "/api/v1/images/img_1/thumbnail", 200, "RIFF"},
        {"GET", "/api/v1/images?limit=1", 200,
         "{\"items\":[{\"imageId\":\"img_1\",\"status\":\"completed\",\"fileName\":\"a.jpg\"}],\"nextCursor\":\"C\"}"},
        {"GET", "/api/v1/images?limit=500&cursor=D", 200, "{\"items\":[{\"imageId\":\"img_2\"}],\"nextCursor\":null}"},
        {"GET", "/api/v1/images?limit=500", 200, "{\"items\":[{\"imageId\":\"img_1\"}],\"nextCursor\":\"D\"}"},
        {"DELETE", "/api/v1/images/img_1", 202, "{\"imageId\":\"img_1\",\"status\":\"deleting\"}"},
        {"GET", "/api/v1/admin/topics/t/records", 200,
         "{\"records\":[{\"topic\":\"t\",\"partition\":0,\"offset\":4,\"key\":\"k\",\"headers\":{\"h\":\"v\"},"
         "\"value\":"
         "{\"a\":1}}]}"},
        {"GET", "/api/v1/admin/topics/t", 200,
         "{\"name\":\"t\",\"type\":\"x\",\"retentionMs\":604800000,\"partitions\":[{\"partition\":0,\"begin\":2,"
         "\"end\":"
         "9}]}"},
        {"GET", "/api/v1/admin/topics", 200,
         "{\"topics\":[{\"name\":\"t\",\"partitions\":3,\"retentionMs\":604800000}]}"},
        {"GET", "/api/v1/admin/groups/g", 200,
         "{\"name\":\"g\",\"members\":1,\"lag\":5,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"committed\":4,"
         "\"end\":"
         "9,\"lag\":5,\"lagMs\":1500,\"member\":null}]}"},
        {"GET", "/api/v1/admin/groups", 200, "{\"groups\":[{\"name\":\"g\",\"members\":1,\"lag\":5}]}"},
        {"POST", "/api/v1/admin/deadletters/0-1/replay", 202, "{\"id\":\"0-1\",\"topic\":\"t\",\"eventId\":\"evt_1\"}"},
        {"GET", "/api/v1/admin/deadletters/0-1", 200, "{\"id\":\"0-1\",\"code\":\"IMAGE_CORRUPT\"}"},
        {"GET", "/api/v1/admin/deadletters", 200, "{\"items\":[{\"id\":\"0-1\",\"code\":\"IMAGE_CORRUPT\"}]}"},
        {"POST", "/api/v1/admin/tenants", 201, "{\"name\":\"shop\"}"},
        {"GET", "/api/v1/admin/tenants", 200, "{\"tenants\":[{\"name\":\"default\",\"createdAt\":\"C\"}]}"},
        {"GET", "/api/v1/admin/models", 200,
         "{\"models\":[{\"name\":\"builtin\",\"version\":\"1\",\"dimension\":512,\"default\":true}]}"},
        {"GET", "/api/v1/events?", 200,
         "id: 0\nretry: 2000\n\nid: 1\ndata: "
         "{\"seq\":1,\"timestamp\":\"T\",\"imageId\":\"img_1\",\"status\":\"completed\","
         "\"fileName\":\"a\\u001b.jpg\"}\n\nid: 2\ndata: "
         "{\"seq\":2,\"timestamp\":\"T\",\"imageId\":\"img_2\",\"status\":\"failed\","
         "\"errorCode\":\"IMAGE_CORRUPT\",\"errorMessage\":\"Broken\"}\n\nid: 3\n\n"},
        {"GET", "/api/v1/events", 200, "id: 3\nretry: 2000\n\n"},
        {"GET", "/readyz", 200, "{\"status\":\"ok\"}"},
        {"POST", "/api/v1/search", 200, results},
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (strcmp(q->method, fixed[i].method) == 0 &&
            strncmp(q->target, fixed[i].prefix, strlen(fixed[i].prefix)) == 0) {
            a->status = fixed[i].status;
            a->type = strstr(q->target, "thumbnail") ? "image/webp" : NULL;
            return strdup(fixed[i].body);
        }
    a->status = 404;
    return strdup("{\"code\":\"NOT_FOUND\",\"detail\":\"There is no such image\"}");
}

static void handle(void *ctx, const struct fake_request *q, struct fake_answer *a)
{
    struct rig *r = ctx;
    char *body = NULL;
    if (strncmp(q->target, "/api/v1/admin/ledger", 20) == 0) {
        assert_true(asprintf(&body,
                             "{\"accepted\":1234,\"searchable\":1234,\"failed\":0,\"deleted\":0,\"inFlight\":0,"
                             "\"duplicates\":0,\"closes\":%s}",
                             r->ledger_open ? "false" : "true") > 0);
    } else if (strncmp(q->target, "/api/v1/images/upload", 21) == 0) {
        snprintf(r->upload_target, sizeof r->upload_target, "%s", q->target);
        bool text = strncmp(q->body, "text", 4) == 0;
        a->status = text ? 415 : 202;
        body =
            strdup(text ? "{\"code\":\"UNSUPPORTED_MEDIA\",\"detail\":\"This is text\"}" : "{\"imageId\":\"img_1\"}");
        r->uploads += !text;
        if (r->interrupt_at && r->uploads == r->interrupt_at) {
            kill(r->child, SIGINT);
            clock_sleep_ms(200); // the upload is still running when the signal is handled
        }
    } else {
        body = answer_for(r, q, a);
    }
    if (strcmp(q->target, "/api/v1/search") == 0) {
        free(r->search_body);
        r->search_body = strdup(q->body);
    }
    a->body = body;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    scratch_make(r->folder);
    r->server = fake_start(handle, r);
    snprintf(r->server_flag, sizeof r->server_flag, "--server=%s", fake_url(r->server));
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    fake_stop(r->server);
    scratch_remove(r->folder);
    free(r->search_body);
    free(r->out);
    free(r->err);
    free(r);
    return 0;
}

static const char *inside(const struct rig *r, const char *name)
{
    static char path[4][PATH_MAX + 64];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", r->folder, name);
    return path[turn];
}

static pid_t start(struct rig *r, const char *input, const char *const *words)
{
    char *argv[WORDS_MAX] = {(char *)program};
    char state[PATH_MAX + 32], home[PATH_MAX + 32], *env[8] = {state, home, "PATH=/usr/bin:/bin"};
    const char *const kept[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
    static char options[4][1024];
    posix_spawn_file_actions_t files;
    pid_t pid;
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s/state", r->folder);
    snprintf(home, sizeof home, "HOME=%s/home", r->folder);
    for (int i = 0, at = 3; i < 4; i++)
        if (getenv(kept[i])) {
            snprintf(options[i], sizeof options[i], "%s=%s", kept[i], getenv(kept[i]));
            env[at++] = options[i];
        }
    for (int i = 0; words[i]; i++)
        argv[i + 1] = (char *)words[i];
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, input, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, inside(r, "out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&files, 2, inside(r, "err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    fake_sync(r->server);
    assert_int_equal(posix_spawn(&pid, program, &files, NULL, argv, env), 0);
    atomic_store(&r->child, pid);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

static int finish(struct rig *r, pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fake_sync(r->server);
    free(r->out);
    free(r->err);
    r->out = read_file(inside(r, "out"));
    r->err = read_file(inside(r, "err"));
    if (!WIFEXITED(status))
        fail_msg("ended by signal %d: %s", WTERMSIG(status), r->err);
    return WEXITSTATUS(status);
}

#define RUN(r, ...) finish(r, start(r, "/dev/null", (const char *const[]){__VA_ARGS__, NULL}))

static void says(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text ? text : "nothing", part);
}

static void version_and_help(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "--version"), 0);
    assert_string_equal(r->out, "deeplens " DEEPLENS_VERSION "\n");
    assert_int_equal(RUN(r, "--help"), 0);
    says(r->out, "upload");
    says(r->out, "--http-listen");
    assert_int_equal(RUN(r, "upload", "--help"), 0);
    says(r->out, "--skip-duplicate-check");
    says(r->out, "Examples:");
    assert_int_equal(RUN(r, "help", "topics", "peek"), 0);
    says(r->out, "--offset");
    assert_int_equal(RUN(r, "topics", "--help"), 0);
    says(r->out, "deeplens topics describe TOPIC");
    assert_int_equal(RUN(r, "topics", "peek", "--help"), 0);
    says(r->out, "--offset");
}

static void misuse_is_2(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *words[6];
        const char *says;
    } cases[] = {
        {{"uplaod"}, "did you mean \"upload\""},
        {{"upload"}, "Something is missing"},
        {{"upload", "x", "--tgas", "y"}, "did you mean --tags"},
        {{"upload", "x", "--metadata", "{"}, "--metadata"},
        {{"upload", "x", "--metadata", "[]"}, "takes a JSON object"},
        {{"upload", "-"}, "--name"},
        {{"upload", "x", "--name", "y"}, "--name is for -"},
        {{"upload", "x", "--jobs", "0"}, "from 1 to 64"},
        {{"search"}, "Search with FILE, --text WORDS"},
        {{"search", "x", "--vector", "y"}, "cannot be in one search"},
        {{"search", "--id", "y", "--filter", "{]"}, "--filter"},
        {{"search", "--id", "y", "--top", "many"}, "--top takes a whole number"},
        {{"status"}, "Something is missing"},
        {{"list", "more"}, "is too much"},
        {{"list", "--status", "lost"}, "one of uploaded|processing"},
        {{"topics"}, "Something is missing"},
        {{"topics", "lst"}, "did you mean \"list\""},
        {{"topics", "peek", "t", "--offset", "-1"}, "--offset takes"},
        {{"help", "frobnicate"}, "frobnicate"},
        {{"ledger", "--server", "nonsense://"}, "not a server's address"},
        {{"ledger", "--http-workers", "none"}, "http.workers"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int code = finish(r, start(r, "/dev/null", cases[i].words));
        if (code != 2)
            fail_msg("%s %s: exit code %d", cases[i].words[0], cases[i].words[1], code);
        says(r->err, cases[i].says);
        assert_string_equal(r->out, "");
    }
    assert_int_equal(finish(r, start(r, "/dev/null", (const char *const[]){NULL})), 2);
    says(r->err, "Commands:");
}

static void uploads_report_and_go_on(void **state)
{
    struct rig *r = *state;
    scratch_write(r->folder, "pics/a.jpg", "picture a");
    scratch_write(r->folder, "pics/sub/b.png", "text, in truth");
    scratch_write(r->folder, "pics/notes.txt", "x");
    assert_int_equal(RUN(r, "upload", inside(r, "pics"), r->server_flag, "--tags", "x,y", "--priority", "high"), 1);
    says(r->out, "Uploaded 1 file, 9 B");
    says(r->out, "1  refused");
    says(r->out, "1  passed over: do not look like images");
    says(r->err, "UNSUPPORTED_MEDIA (1)");
    says(r->err, "b.png: This is text");
    assert_int_equal(r->uploads, 1);
    assert_int_equal(RUN(r, "upload", inside(r, "pics/a.jpg"), r->server_flag), 0);
    says(r->out, "1  uploaded before"); // the same file, whether it is named or found
    assert_int_equal(RUN(r, "upload", inside(r, "pics"), r->server_flag, "--json"), 1);
    _cleanup_json_ json_t *report = js_parse(r->out, strlen(r->out), NULL);
    assert_int_equal(js_int(report, "resumed", -1), 1);
    assert_int_equal(js_int(report, "uploaded", -1), 0);
    unsigned before = r->uploads;
    assert_int_equal(RUN(r, "upload", inside(r, "pics/a.jpg"), r->server_flag, "--no-resume", "--quiet", "--wait"), 0);
    assert_string_equal(r->out, "");
    assert_string_equal(r->err, "");
    assert_int_equal(r->uploads, before + 1);
}

static void upload_says_everything_in_its_query(void **state)
{
    struct rig *r = *state;
    scratch_write(r->folder, "ä b.jpg", "picture");
    assert_int_equal(RUN(r, "upload", inside(r, "ä b.jpg"), r->server_flag, "--tags", "x,y", "--metadata", "{\"a\": 1}",
                         "--models", "m1,m2", "--priority", "low", "--no-thumbnail", "--skip-duplicate-check"),
                     0);
    assert_string_equal(
        r->upload_target,
        "/api/v1/images/upload?fileName=%C3%A4%20b.jpg&tags=x%2Cy&metadata=%7B%22a%22%3A%201%7D&"
        "processingOptions=%7B%22models%22%3A%5B%22m1%22%2C%22m2%22%5D%2C%22priority%22%3A%22low%22%2C%22"
        "generateThumbnail%22%3Afalse%2C%22skipDuplicateCheck%22%3Atrue%7D");
}

static void upload_takes_stdin(void **state)
{
    struct rig *r = *state;
    char input[PATH_MAX];
    snprintf(input, sizeof input, "%s", scratch_write(r->folder, "input", "picture"));
    assert_int_equal(
        finish(r, start(r, input, (const char *const[]){"upload", "-", "--name", "in.jpg", r->server_flag, NULL})), 0);
    assert_string_equal(r->upload_target, "/api/v1/images/upload?fileName=in.jpg");
}

static void an_interrupted_upload_goes_on_where_it_was(void **state)
{
    enum { PICTURES = 12 };
    struct rig *r = *state;
    for (int i = 0; i < PICTURES; i++) {
        char name[32];
        snprintf(name, sizeof name, "pics/%d.jpg", i);
        scratch_write(r->folder, name, "picture");
    }
    r->interrupt_at = 3;
    assert_int_equal(RUN(r, "upload", inside(r, "pics"), r->server_flag, "--jobs", "2", "--json"), 130);
    _cleanup_json_ json_t *first = js_parse(r->out, strlen(r->out), NULL);
    int64_t uploaded = js_int(first, "uploaded", -1);
    assert_true(js_bool(first, "interrupted", false));
    assert_true(uploaded >= 3 && uploaded < PICTURES);
    assert_int_equal(js_int(first, "refused", -1), 0); // what ran has ended
    assert_int_equal(js_int(first, "notTried", -1), PICTURES - uploaded);
    assert_int_equal(r->uploads, uploaded);
    r->interrupt_at = 0;
    assert_int_equal(RUN(r, "upload", inside(r, "pics"), r->server_flag, "--json"), 0);
    _cleanup_json_ json_t *second = js_parse(r->out, strlen(r->out), NULL);
    assert_int_equal(js_int(second, "resumed", -1), uploaded);
    assert_int_equal(js_int(second, "uploaded", -1), PICTURES - uploaded);
    assert_int_equal(r->uploads, PICTURES);
}

static void upload_of_nothing_readable_fails(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "upload", inside(r, "none.jpg"), r->server_flag), 1);
    says(r->err, "No such file");
}

static void search_shows_hits_in_every_form(void **state)
{
    struct rig *r = *state;
    assert_int_equal(
        RUN(r, "search", "--id", "img_9", "--top", "3", "--min-score", "0.5", "--filter", "{\"a\": 1}", r->server_flag),
        0);
    says(r->out, "0.9876");
    says(r->err, "1 hit by builtin");
    assert_null(strchr(r->out, 0x1b)); // a name cannot drive the terminal
    assert_string_equal(r->search_body, "{\"filter\":{\"a\":1},\"imageId\":\"img_9\",\"topK\":3,\"minScore\":0.5}");
    assert_int_equal(
        RUN(r, "search", "--vector", scratch_write(r->folder, "v.json", "[1, 0.5]"), "--json", r->server_flag), 0);
    assert_string_equal(r->search_body, "{\"vector\":[1,0.5]}");
    _cleanup_json_ json_t *answer = js_parse(r->out, strlen(r->out), NULL);
    assert_int_equal(json_array_size(js_arr(answer, "results")), 1);
    assert_int_equal(RUN(r, "search", scratch_write(r->folder, "q.jpg", "PICTURE"), "--top", "2", r->server_flag), 0);
    says(r->search_body, "name=\"topK\"\r\n\r\n2\r\n");
    says(r->search_body, "PICTURE");
    assert_int_equal(RUN(r, "search", "--vector", scratch_write(r->folder, "v.json", "{}"), r->server_flag), 1);
    assert_int_equal(RUN(r, "search", inside(r, "none.jpg"), r->server_flag), 1);
}

static void the_page_is_whole_and_escaped(void **state)
{
    struct rig *r = *state;
    char page_path[PATH_MAX + 64];
    snprintf(page_path, sizeof page_path, "%s", inside(r, "page.html"));
    assert_int_equal(RUN(r, "search", "--id", "img_1", "--html", page_path, r->server_flag), 0);
    char *page = read_file(page_path);
    says(page, "<!doctype html>");
    says(page, "data:image/webp;base64,UklGRg==");
    says(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;");
    says(page, "&lt;i&gt;");
    says(page, "&quot;&amp;");
    says(page, "</html>\n");
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "http://127"));
    free(page);
    assert_int_equal(RUN(r, "search", "--id", "img_1", "--html", "/does/not/exist.html", r->server_flag), 1);
}

static void status_says_how_far(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "status", "img_1", r->server_flag), 0);
    says(r->out, "img_1  completed");
    says(r->out, "preprocessing  completed  12 ms");
    assert_int_equal(RUN(r, "status", "--watch", "--json", "img_1", r->server_flag), 0);
    _cleanup_json_ json_t *status = js_parse(r->out, strlen(r->out), NULL);
    assert_string_equal(js_str(status, "status", ""), "completed");
    assert_int_equal(RUN(r, "status", "img_bad", r->server_flag), 1);
    says(r->out, "Broken (IMAGE_CORRUPT)");
    assert_int_equal(RUN(r, "status", "img_none", "--json", r->server_flag), 1);
    says(r->err, "There is no such image (NOT_FOUND)");
    assert_string_equal(r->out, "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"There is no such image\"}}\n");
}

static void events_are_shown_up_to_now(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "events", r->server_flag), 0);
    says(r->out, "1  T  img_1  completed   a\xef\xbf\xbd.jpg\n");
    assert_int_equal(RUN(r, "events", "--json", r->server_flag), 0);
    says(r->out, "{\"seq\":1,");
    assert_int_equal(RUN(r, "events", "--since", "x", r->server_flag), 2);
}

static void lists_go_through_pages(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "list", "--limit", "1", r->server_flag), 0);
    says(r->out, "a.jpg");
    says(r->err, "There are more");
    assert_int_equal(RUN(r, "list", "--all", "--json", r->server_flag), 0);
    assert_string_equal(r->out, "{\"imageId\":\"img_1\"}\n{\"imageId\":\"img_2\"}\n");
}

static void deletes_are_told_one_by_one(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "delete", "img_1", r->server_flag), 2); // nobody to ask
    assert_int_equal(RUN(r, "delete", "img_1", "--yes", r->server_flag), 0);
    assert_string_equal(r->out, "img_1 deleting\n");
    assert_int_equal(RUN(r, "delete", "img_1", "img_none", "--json", "--yes", r->server_flag), 1);
    _cleanup_json_ json_t *answers = js_parse(r->out, strlen(r->out), NULL);
    assert_int_equal(json_array_size(answers), 2);
    assert_string_equal(js_str(js_obj(json_array_get(answers, 1), "error"), "code", ""), "NOT_FOUND");
}

static void the_ledger_must_close(void **state)
{
    struct rig *r = *state;
    assert_int_equal(RUN(r, "ledger", r->server_flag), 0);
    says(r->out, "1,234  uploads accepted");
    says(r->out, "The ledger closes");
    r->ledger_open = true;
    assert_int_equal(RUN(r, "ledger", r->server_flag), 1);
    assert_int_equal(RUN(r, "ledger", "--json", r->server_flag), 1);
    says(r->out, "\"closes\":false");
    assert_int_equal(RUN(r, "doctor", r->server_flag), 1);
    says(r->out, "fail  ledger");
}

static void administration_is_shown(void **state)
{
    static const struct {
        const char *words[5];
        const char *says;
    } cases[] = {
        {{"topics", "list"}, "7 d"},
        {{"topics", "describe", "t"}, "kept for 7 d"},
        {{"topics", "peek", "t"}, "offset 4  key k"},
        {{"topics", "peek", "t", "--json"}, "\"offset\":4"},
        {{"groups", "list"}, "g            1    5"},
        {{"groups", "describe", "g"}, "1.5 s"},
        {{"dlq", "list"}, "IMAGE_CORRUPT"},
        {{"dlq", "show", "0-1"}, "\"id\": \"0-1\""},
        {{"dlq", "replay", "0-1"}, "goes to t again, as evt_1"},
        {{"tenants", "list"}, "default"},
        {{"tenants", "add", "shop"}, "Added tenant shop"},
        {{"models", "list"}, "builtin  1        -                512  yes"},
        {{"doctor"}, "ok    ledger"},
        {{"doctor", "--json"}, "\"ok\":true"},
    };
    struct rig *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *words[8] = {NULL};
        int count = 0;
        for (; cases[i].words[count]; count++)
            words[count] = cases[i].words[count];
        words[count] = r->server_flag;
        assert_int_equal(finish(r, start(r, "/dev/null", words)), 0);
        says(r->out, cases[i].says);
    }
}

static void nobody_answers(void **state)
{
    struct rig *r = *state;
    struct fake_server *gone = fake_start(handle, r);
    char flag[96];
    snprintf(flag, sizeof flag, "--server=%s", fake_url(gone));
    fake_stop(gone);
    static const char *const commands[][2] = {
        {"ledger", NULL}, {"list", NULL}, {"status", "img_1"}, {"upload", "/etc/passwd"}};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *words[] = {commands[i][0], flag, commands[i][1], NULL};
        assert_int_equal(finish(r, start(r, "/dev/null", words)), 1);
        says(r->err, "start one with `deeplens serve`");
    }
    assert_int_equal(RUN(r, "doctor", flag), 1);
    says(r->out, "fail  server");
}

static void a_full_disk_behind_stdout_is_a_failure(void **state)
{
    struct rig *r = *state;
    char *argv[] = {(char *)program, "--version", NULL};
    char *env[] = {NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/full", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, inside(r, "err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&pid, program, &files, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&files);
    close(open(inside(r, "out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(finish(r, pid), 1);
    says(r->err, "could not be written");
}

static void a_reader_that_has_enough_is_no_failure(void **state)
{
    struct rig *r = *state;
    char *argv[] = {(char *)program, "help", "--configuration", NULL};
    char *env[] = {NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawn_file_actions_addopen(&files, 2, inside(r, "err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&pid, program, &files, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    close(open(inside(r, "out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(finish(r, pid), 0);
    assert_string_equal(r->err, "");
}

static void pages_are_made_from_the_tables(void **state)
{
    struct rig *r = *state;
    static const char *const pages[][2] = {{"--man", ".SH COMMANDS"},
                                           {"--completion", "complete -o filenames -F _deeplens deeplens"},
                                           {"--markdown", "## deeplens topics peek"},
                                           {"--configuration", "http.listen"},
                                           {"--metrics", "# Metrics"},
                                           {"--errors", "| `IMAGE_CORRUPT` | 422 | no |"}};
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        assert_int_equal(RUN(r, "help", pages[i][0]), 0);
        says(r->out, pages[i][1]);
    }
}

static void completion_completes(void **state)
{
    static const struct {
        const char *line, *wants;
    } cases[] = {
        {"(deeplens up)", "upload\n"},
        {"(deeplens topics de)", "describe\ndelete\n"},
        {"(deeplens upload --pri)", "--priority\n"},
        {"(deeplens upload --priority lo)", "low\n"},
        {"(deeplens --http-li)", "--http-listen\n"},
    };
    struct rig *r = *state;
    assert_int_equal(RUN(r, "help", "--completion"), 0);
    char *script = strdup(r->out);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", scratch_write(r->folder, "completion", script));
    free(script);
    const char *bash = program;
    program = "/bin/bash";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[PATH_MAX + 256];
        snprintf(text, sizeof text,
                 "set -u; . %s; COMP_WORDS=%s; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _deeplens; printf '%%s\\n' "
                 "\"${COMPREPLY[@]}\"",
                 path, cases[i].line);
        assert_int_equal(RUN(r, "-c", text), 0);
        assert_string_equal(r->out, cases[i].wants);
    }
    program = bash;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_and_help, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_2, setup, teardown),
        cmocka_unit_test_setup_teardown(uploads_report_and_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(upload_says_everything_in_its_query, setup, teardown),
        cmocka_unit_test_setup_teardown(upload_takes_stdin, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_upload_goes_on_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(upload_of_nothing_readable_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(search_shows_hits_in_every_form, setup, teardown),
        cmocka_unit_test_setup_teardown(the_page_is_whole_and_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(status_says_how_far, setup, teardown),
        cmocka_unit_test_setup_teardown(events_are_shown_up_to_now, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_go_through_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes_are_told_one_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(the_ledger_must_close, setup, teardown),
        cmocka_unit_test_setup_teardown(administration_is_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_behind_stdout_is_a_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_has_enough_is_no_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_are_made_from_the_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(completion_completes, setup, teardown),
    };
    program = argc > 1 ? argv[1] : NULL;
    if (!program) {
        fputs("usage: test_program PROGRAM\n", stderr);
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
