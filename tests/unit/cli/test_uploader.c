// SPDX-License-Identifier: Apache-2.0
// Many files against a scripted server: outcomes, retries, giving up, going on after an interruption, waiting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "base/js.h"
#include "cli/client.h"
#include "cli/upload_report.h"
#include "cli/uploader.h"
#include "fake_server.h"
#include "scratch.h"

enum { FILES = 12, FIRST_SEQ = 100 };

// A small DeepLens: takes everything in but "text…" and empty files; the same bytes are a duplicate.
struct shop {
    unsigned busy;    // so many requests are answered with 503
    unsigned lost;    // so many connections break before an answer
    unsigned uploads; // accepted
    unsigned images;
    bool forgets;     // status: 404
    const char *ends; // how all end: when they are asked for, those with an even number; the rest as a change
    unsigned questions;
    unsigned told;  // changes that were sent
    unsigned apart; // changes in one answer, after which the connection ends; 0: all
    bool gap;       // the first answer to somebody who comes back says that it missed something
    unsigned sinces[8], sincecount;
    char *bodies[FILES + 1];
    char query[512];
};

static void answer_upload(struct shop *shop, const struct fake_request *request, struct fake_answer *answer)
{
    if (!request->len || memcmp(request->body, "text", request->len < 4 ? request->len : 4) == 0) {
        answer->status = request->len ? 415 : 422;
        answer->body = strdup(request->len ? "{\"code\":\"UNSUPPORTED_MEDIA\",\"detail\":\"This is text\"}"
                                           : "{\"code\":\"EMPTY_FILE\",\"detail\":\"It is empty\"}");
        return;
    }
    unsigned at = 1;
    while (at <= shop->images && strcmp(shop->bodies[at], request->body) != 0)
        at++;
    bool duplicate = at <= shop->images;
    if (!duplicate) {
        assert_true(at <= FILES);
        shop->images = at;
        shop->bodies[at] = strdup(request->body);
        shop->uploads++;
    }
    snprintf(shop->query, sizeof shop->query, "%s", strchr(request->target, '?'));
    answer->status = duplicate ? 200 : 202;
    assert_true(asprintf(&answer->body, "{\"imageId\":\"img_%u\",\"duplicate\":%s}", at, duplicate ? "true" : "false") >
                0);
}

static void answer_status(struct shop *shop, const struct fake_request *request, struct fake_answer *answer)
{
    unsigned at = 0;
    sscanf(request->target, "/api/v1/images/img_%u/status", &at);
    if (shop->forgets || at < 1 || at > shop->images) {
        answer->status = 404;
        answer->body = strdup("{\"code\":\"NOT_FOUND\",\"detail\":\"None\"}");
        return;
    }
    bool ended = at % 2 == 0 || shop->told >= at;
    shop->questions++;
    const char *error = ",\"error\":{\"code\":\"IMAGE_CORRUPT\",\"message\":\"Broken\"}";
    assert_true(asprintf(&answer->body, "{\"status\":\"%s\"%s}", ended ? shop->ends : "processing",
                         ended && strcmp(shop->ends, "failed") == 0 ? error : "") > 0);
}

// Numbers begin at FIRST_SEQ; the change FIRST_SEQ + n is the end of img_n.
static void answer_events(struct shop *shop, const struct fake_request *request, struct fake_answer *answer)
{
    unsigned since = FIRST_SEQ, end;
    const char *given = strstr(request->target, "since=");
    if (given)
        sscanf(given, "since=%u", &since);
    if (shop->sincecount < 8)
        shop->sinces[shop->sincecount++] = given ? since : 0;
    struct buf text = BUF_INIT(65536);
    if (given && shop->gap) {
        shop->gap = false;
        since = FIRST_SEQ + shop->images;
        shop->told = shop->images;
        buf_printf(&text, "id: %u\nretry: 2000\n\nid: %u\ndata: {\"seq\":%u,\"type\":\"gap\"}\n\n", since, since,
                   since);
    } else {
        buf_printf(&text, "id: %u\nretry: 2000\n\n", since);
    }
    end = FIRST_SEQ + shop->images;
    if (shop->apart && since + shop->apart < end)
        end = since + shop->apart;
    for (; ++since <= end; shop->told = since - FIRST_SEQ)
        buf_printf(&text, "id: %u\ndata: {\"seq\":%u,\"imageId\":\"img_%u\",\"status\":\"%s\"%s}\n\n", since, since,
                   since - FIRST_SEQ, shop->ends,
                   strcmp(shop->ends, "failed") == 0 ? ",\"errorCode\":\"IMAGE_CORRUPT\",\"errorMessage\":\"Broken\""
                                                     : "");
    answer->type = "text/event-stream";
    answer->body = buf_steal(&text);
}

static void keep_shop(void *ctx, const struct fake_request *request, struct fake_answer *answer)
{
    struct shop *shop = ctx;
    if (shop->lost) {
        shop->lost--;
        answer->drop = true;
    } else if (shop->busy) {
        shop->busy--;
        answer->status = 503;
        answer->body = strdup("{\"code\":\"OVERLOADED\",\"detail\":\"Busy\"}");
    } else if (strcmp(request->method, "POST") == 0) {
        answer_upload(shop, request, answer);
    } else if (strncmp(request->target, "/api/v1/events", 14) == 0) {
        answer_events(shop, request, answer);
    } else {
        answer_status(shop, request, answer);
    }
}

struct rig {
    struct fake_server *server;
    struct shop shop;
    char folder[PATH_MAX];
    char paths[FILES][PATH_MAX];
    struct upload_file files[FILES];
    struct upload upload;
};

// A call that lets the server's handler run: what the test set before it, and reads after it, is ordered against that.
#define CALL(call) (fake_sync(r->server), synced(r->server, call))

static int synced(struct fake_server *server, int rc)
{
    fake_sync(server);
    return rc;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    r->shop.ends = "completed";
    r->server = fake_start(keep_shop, &r->shop);
    scratch_make(r->folder);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    fake_stop(r->server);
    for (int i = 0; i < FILES; i++)
        free(r->files[i].error);
    for (unsigned i = 1; i <= r->shop.images; i++)
        free(r->shop.bodies[i]);
    scratch_remove(r->folder);
    free(r);
    return 0;
}

static void add_file(struct rig *r, const char *content)
{
    size_t at = r->upload.count++;
    char name[32];
    snprintf(name, sizeof name, "%zu.jpg", at);
    snprintf(r->paths[at], PATH_MAX, "%s", scratch_write(r->folder, name, content));
    r->files[at] = (struct upload_file){.path = r->paths[at],
                                        .name = strrchr(r->paths[at], '/') + 1,
                                        .inside = strrchr(r->paths[at], '/') + 1,
                                        .fd = -1,
                                        .size = strlen(content)};
}

static void add_pictures(struct rig *r, int count)
{
    for (int i = 0; i < count; i++) {
        char content[32];
        snprintf(content, sizeof content, "picture %d", i);
        add_file(r, content);
    }
}

// Runs it from the beginning, with what is set in r->shop.
static void upload(struct rig *r, unsigned jobs, unsigned retries)
{
    struct error err;
    for (size_t i = 0; i < r->upload.count; i++) {
        free(r->files[i].error);
        r->files[i].error = NULL;
        r->files[i].outcome = UPLOAD_NOT_TRIED;
        r->files[i].end = UPLOAD_UNKNOWN;
        r->files[i].id[0] = 0;
    }
    r->upload = (struct upload){.server = fake_url(r->server),
                                .query = "&tags=a%2Cb",
                                .jobs = jobs,
                                .retries = retries,
                                .quiet = true,
                                .since = -1,
                                .files = r->files,
                                .count = r->upload.count};
    assert_int_equal(CALL(upload_run(&r->upload, &err)), 0);
}

static struct upload_totals totals_of(const struct rig *r)
{
    struct upload_totals t;
    upload_count(&r->upload, &t);
    return t;
}

static void each_file_gets_its_outcome(void **state)
{
    struct rig *r = *state;
    add_pictures(r, 8);
    add_file(r, "text of no use");
    add_file(r, "");
    add_file(r, "picture 3");
    upload(r, 1, 0);
    struct upload_totals t = totals_of(r);
    assert_int_equal(t.outcomes[UPLOAD_NEW], 8);
    assert_int_equal(t.outcomes[UPLOAD_REFUSED], 2);
    assert_int_equal(t.outcomes[UPLOAD_DUPLICATE], 1);
    assert_int_equal(t.outcomes[UPLOAD_NOT_TRIED], 0);
    assert_int_equal(r->files[8].error->code, ERR_UNSUPPORTED_MEDIA);
    assert_int_equal(r->files[9].error->code, ERR_EMPTY_FILE);
    assert_string_equal(r->files[10].id, r->files[3].id);
    assert_string_equal(r->shop.query, "?fileName=10.jpg&tags=a%2Cb");
    assert_int_equal(fake_connections(r->server), 1);
}

static void many_at_once_are_each_sent_once(void **state)
{
    struct rig *r = *state;
    add_pictures(r, FILES);
    upload(r, 6, 0);
    assert_int_equal(totals_of(r).outcomes[UPLOAD_NEW], FILES);
    assert_int_equal(r->shop.uploads, FILES);
    assert_true(fake_connections(r->server) <= 6);
    for (int i = 0; i < FILES; i++) {
        unsigned at = (unsigned)atoi(r->files[i].id + 4);
        char want[32];
        snprintf(want, sizeof want, "picture %d", i);
        assert_string_equal(r->shop.bodies[at], want);
    }
}

static void busy_and_lost_are_tried_again(void **state)
{
    struct rig *r = *state;
    add_pictures(r, 2);
    r->shop.busy = 2;
    r->shop.lost = 1;
    upload(r, 1, 5);
    assert_int_equal(totals_of(r).outcomes[UPLOAD_NEW], 2);
    assert_int_equal(r->shop.uploads, 2);
    assert_false(r->upload.gave_up);
}

static void it_gives_up_when_nobody_answers(void **state)
{
    struct rig *r = *state;
    add_pictures(r, 5);
    r->shop.lost = 1000;
    upload(r, 1, 1);
    struct upload_totals t = totals_of(r);
    assert_int_equal(t.outcomes[UPLOAD_REFUSED], 1);
    assert_int_equal(t.outcomes[UPLOAD_NOT_TRIED], 4);
    assert_int_equal(r->files[0].error->code, ERR_UNAVAILABLE);
    assert_true(r->upload.gave_up);
}

static void attach_journal(struct rig *r, struct journal **journal)
{
    struct error err;
    char state[PATH_MAX + 8];
    snprintf(state, sizeof state, "%s/state", r->folder);
    assert_int_equal(journal_open(state, fake_url(r->server), NULL, r->folder, journal, &err), 0);
    for (size_t i = 0; i < r->upload.count; i++)
        r->files[i].journal = *journal;
}

static void a_second_run_goes_on_where_the_first_ended(void **state)
{
    struct rig *r = *state;
    struct journal *journal;
    add_pictures(r, 6);
    size_t all = r->upload.count;
    r->upload.count = 4; // the first run got that far
    attach_journal(r, &journal);
    upload(r, 2, 0);
    journal_close(journal);
    assert_int_equal(totals_of(r).outcomes[UPLOAD_NEW], 4);
    scratch_write(r->folder, "0.jpg", "another picture"); // changed since
    r->upload.count = all;
    attach_journal(r, &journal);
    upload(r, 2, 0);
    journal_close(journal);
    struct upload_totals t = totals_of(r);
    assert_int_equal(t.outcomes[UPLOAD_RESUMED], 3);
    assert_int_equal(t.outcomes[UPLOAD_NEW], 3);
    assert_int_equal(r->files[0].outcome, UPLOAD_NEW);
    assert_int_equal(r->shop.uploads, 7);
}

static void what_the_server_forgot_is_uploaded_again(void **state)
{
    struct rig *r = *state;
    struct journal *journal;
    add_pictures(r, 2);
    attach_journal(r, &journal);
    upload(r, 1, 0);
    journal_close(journal);
    attach_journal(r, &journal);
    r->shop.forgets = true;
    upload(r, 1, 0);
    journal_close(journal);
    assert_int_equal(totals_of(r).outcomes[UPLOAD_RESUMED], 0);
    assert_int_equal(totals_of(r).outcomes[UPLOAD_DUPLICATE], 2); // the shop keeps its bytes: it was asked
}

static void waiting_sees_all_to_their_end(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 4);
    add_file(r, "text");
    upload(r, 2, 2);
    r->shop.lost = 1;
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    struct upload_totals t = totals_of(r);
    assert_int_equal(t.searchable, 4);
    assert_int_equal(t.failed, 0);
    assert_int_equal(t.unsettled, 0);
}

static void waiting_asks_for_nothing_that_changes_tell_of(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 5);
    upload(r, 2, 2);
    r->upload.since = FIRST_SEQ;
    r->shop.apart = 2; // lost in between
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    assert_int_equal(totals_of(r).searchable, 5);
    assert_int_equal(r->shop.questions, 0);
    assert_int_equal(r->shop.sincecount, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(r->shop.sinces[i], FIRST_SEQ + 2 * i);
}

static void waiting_asks_after_a_gap(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 5);
    upload(r, 2, 2);
    r->upload.since = FIRST_SEQ;
    r->shop.gap = true;
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    assert_int_equal(totals_of(r).searchable, 5);
    assert_int_equal(r->shop.questions, 5);
}

static void waiting_settles_each_file_of_the_same_bytes(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 3);
    add_file(r, "picture 0");
    add_file(r, "picture 0");
    upload(r, 1, 2);
    r->upload.since = FIRST_SEQ;
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    assert_int_equal(totals_of(r).searchable, 5);
    assert_int_equal(r->shop.questions, 2); // for the duplicates, which may have ended before
}

static void waiting_tells_what_failed(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 2);
    r->shop.ends = "failed";
    upload(r, 1, 0);
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    assert_int_equal(totals_of(r).failed, 2);
    assert_int_equal(r->files[0].error->code, ERR_IMAGE_CORRUPT);
    assert_string_equal(r->files[0].error->message, "Broken");
}

static void waiting_ends_for_what_was_deleted(void **state)
{
    struct rig *r = *state;
    struct error err;
    add_pictures(r, 2);
    upload(r, 1, 0);
    r->shop.forgets = true;
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), 0);
    assert_int_equal(totals_of(r).gone, 2);
}

static void waiting_gives_up_when_nobody_answers(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    add_pictures(r, 2);
    upload(r, 1, 0);
    r->shop.lost = 1000;
    assert_int_equal(CALL(upload_wait(&r->upload, &err)), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_int_equal(totals_of(r).unsettled, 2);
}

static void the_report_counts_everything_once(void **state)
{
    struct rig *r = *state;
    struct upload_passed_over passed = {.hidden = 2, .no_image = 3};
    add_pictures(r, 2);
    add_file(r, "text");
    upload(r, 1, 0);
    struct upload_totals t = totals_of(r);
    _cleanup_json_ json_t *report = upload_json(&r->upload, &t, &passed, false);
    assert_int_equal(js_int(report, "uploaded", -1), 2);
    assert_int_equal(js_int(report, "refused", -1), 1);
    assert_int_equal(js_int(js_obj(report, "passedOver"), "noImage", -1), 3);
    assert_int_equal(js_int(report, "bytes", -1), 18);
    assert_null(json_object_get(report, "searchable"));
    assert_int_equal(json_array_size(js_arr(report, "images")), 3);
    const json_t *refused = json_array_get(js_arr(report, "images"), 2);
    assert_string_equal(js_str(refused, "outcome", ""), "refused");
    assert_string_equal(js_str(js_obj(refused, "error"), "code", ""), "UNSUPPORTED_MEDIA");
}

static void back_off_grows_within_bounds(void **state)
{
    unsigned seed = 1;
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        int64_t wait = upload_back_off_ms(attempt, 0, &seed);
        assert_true(wait >= 100 && wait <= 5000);
        assert_true(attempt < 5 || wait >= 2500);
    }
    assert_int_equal(upload_back_off_ms(0, 7000, &seed), 7000);
    assert_int_equal(upload_back_off_ms(0, 86400000, &seed), 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_file_gets_its_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once_are_each_sent_once, setup, teardown),
        cmocka_unit_test_setup_teardown(busy_and_lost_are_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(it_gives_up_when_nobody_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_run_goes_on_where_the_first_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_server_forgot_is_uploaded_again, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_sees_all_to_their_end, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_asks_for_nothing_that_changes_tell_of, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_asks_after_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_settles_each_file_of_the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_tells_what_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_ends_for_what_was_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_gives_up_when_nobody_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(the_report_counts_everything_once, setup, teardown),
        cmocka_unit_test(back_off_grows_within_bounds),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
