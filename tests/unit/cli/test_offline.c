// SPDX-License-Identifier: Apache-2.0
// Commands without a server: the data directory is opened in the process, unless a server was named, the folder is not
// there, or someone else has it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "api/api.h"
#include "backends/registry.h"
#include "base/js.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "fake_server.h"
#include "scratch.h"

struct rig {
    char folder[PATH_MAX];
    struct conf conf;
    struct cli cli;
};

static void ignore(void *ctx, const struct fake_request *request, struct fake_answer *answer)
{
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct error err;
    char data[PATH_MAX + 8];
    struct fake_server *gone = fake_start(ignore, NULL);
    scratch_make(r->folder);
    snprintf(data, sizeof data, "%s/data", r->folder);
    conf_init(&r->conf);
    int rc = conf_set(&r->conf, "data.dir", data, &err) < 0 || conf_set(&r->conf, "server", fake_url(gone), &err) < 0 ||
             conf_set(&r->conf, "log.level", "off", &err) < 0;
    fake_stop(gone); // nobody answers there any more
    r->cli.conf = &r->conf;
    *state = r;
    return rc;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    conf_free(&r->conf);
    scratch_remove(r->folder);
    free(r);
    return 0;
}

static struct app *open_app(struct rig *r)
{
    struct app *app = NULL;
    struct error err;
    if (app_open(&r->conf, APP_NO_WORKERS, &app, &err) < 0)
        fail_msg("%s", err.message);
    return app;
}

static void the_data_directory_answers_instead(void **state)
{
    struct rig *r = *state;
    struct error err;
    struct client *client = NULL;
    app_close(open_app(r)); // makes it
    if (cli_connect(&r->cli, true, NULL, &client, &err) < 0)
        fail_msg("%s", err.message);
    assert_non_null(r->cli.app);
    json_t *ledger = NULL;
    assert_int_equal(client_get(client, "/api/v1/admin/ledger", &ledger, &err), 0);
    assert_true(js_bool(ledger, "closes", false));
    json_decref(ledger);
    client_free(client);
    cli_disconnect(&r->cli);
    assert_null(r->cli.app);
}

static void not_when_a_server_was_named(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct client *client = NULL;
    app_close(open_app(r));
    r->cli.server_given = true;
    assert_int_equal(cli_connect(&r->cli, true, NULL, &client, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_null(r->cli.app);
}

static void not_for_commands_that_need_workers(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct client *client = NULL;
    app_close(open_app(r));
    assert_int_equal(cli_connect(&r->cli, false, NULL, &client, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_null(r->cli.app);
}

static void a_folder_that_is_missing_is_not_made(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct client *client = NULL;
    assert_int_equal(cli_connect(&r->cli, true, NULL, &client, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "there is no data directory"));
    assert_int_equal(access(r->conf.data_dir, F_OK), -1);
}

static void a_folder_in_use_names_its_process(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct client *client = NULL;
    char pid[32];
    struct app *other = open_app(r);
    assert_int_equal(cli_connect(&r->cli, true, NULL, &client, &err), -1);
    assert_int_equal(err.code, ERR_DATA_DIR_IN_USE);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_non_null(strstr(err.message, pid));
    app_close(other);
}

// The embedded log lives in the records: it is never opened alone, and commands open the data directory for it.
static void the_embedded_log_does_not_stand_alone(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct ports ports;
    struct app *app = NULL;
    struct client *client = NULL;
    assert_false(registry_log_alone(&r->conf));
    assert_int_equal(registry_open_log(&r->conf, &ports, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_int_equal(app_open(&r->conf, APP_NO_WORKERS | APP_LOG_ALONE, &app, &err), -1);
    assert_int_equal(access(r->conf.data_dir, F_OK), -1); // nothing was made
    app_close(open_app(r));
    r->cli.log_alone = true;
    assert_int_equal(cli_connect(&r->cli, true, NULL, &client, &err), 0);
    assert_int_equal(client_get(client, "/api/v1/admin/topics", NULL, &err), 0);
    client_free(client);
    cli_disconnect(&r->cli);
}

// What needs the log alone, and nothing else, is served where there is nothing else.
static void routes_of_a_log_alone(void **state)
{
    struct http_route routes[API_ROUTES_MAX];
    size_t count = 0;
    bool version = false;
    api_routes_log(routes);
    for (; routes[count].pattern; count++) {
        const char *pattern = routes[count].pattern;
        version |= strcmp(pattern, "/api/v1/version") == 0; // which commands ask for first
        assert_true(strcmp(pattern, "/api/v1/version") == 0 || strncmp(pattern, "/api/v1/admin/topics", 20) == 0 ||
                    strncmp(pattern, "/api/v1/admin/groups", 20) == 0 ||
                    strncmp(pattern, "/api/v1/admin/lag", 17) == 0 ||
                    strncmp(pattern, "/api/v1/admin/deadletters", 25) == 0);
    }
    assert_true(version);
    assert_int_equal(count, 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_data_directory_answers_instead, setup, teardown),
        cmocka_unit_test_setup_teardown(not_when_a_server_was_named, setup, teardown),
        cmocka_unit_test_setup_teardown(not_for_commands_that_need_workers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_is_missing_is_not_made, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_in_use_names_its_process, setup, teardown),
        cmocka_unit_test_setup_teardown(the_embedded_log_does_not_stand_alone, setup, teardown),
        cmocka_unit_test(routes_of_a_log_alone),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
