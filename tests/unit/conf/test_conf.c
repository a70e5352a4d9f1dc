// SPDX-License-Identifier: Apache-2.0
// The configuration: notations of values, where they come from and which wins, and how it is shown.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "conf/conf.h"

static char folder[128], file[160];

static int setup_all(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/deeplens-conf-XXXXXX", tmp && strlen(tmp) < 64 ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof file, "%s/deeplens.conf", folder);
    return 0;
}

static int teardown_all(void **state)
{
    unlink(file);
    return rmdir(folder);
}

// Each test starts without DEEPLENS_* variables, with a configuration file that is there and empty.
static int setup(void **state)
{
    static struct conf c;
    for (size_t i = 0; environ[i];) {
        char name[128] = "";
        strncpy(name, environ[i], strcspn(environ[i], "=") < 127 ? strcspn(environ[i], "=") : 127);
        if (strncmp(name, "DEEPLENS_", 9) == 0)
            unsetenv(name);
        else
            i++;
    }
    FILE *out = fopen(file, "w");
    if (!out || fclose(out))
        return -1;
    setenv("DEEPLENS_CONFIG", file, 1);
    conf_init(&c);
    *state = &c;
    return 0;
}

static int teardown(void **state)
{
    conf_free(*state);
    return 0;
}

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

// Loads with these flags, NULL-terminated; returns what is left of argv, joined.
static int load(struct conf *c, const char *const *flags, char left[256], struct error *err)
{
    char *argv[20] = {(char[]){"deeplens"}};
    char words[20][64];
    int argc = 1;
    for (; flags && flags[argc - 1]; argc++) {
        snprintf(words[argc], sizeof words[argc], "%s", flags[argc - 1]);
        argv[argc] = words[argc];
    }
    *err = (struct error){0};
    int rc = conf_load(c, &argc, argv, err);
    left[0] = 0;
    for (int i = 1; rc == 0 && i < argc; i++)
        snprintf(left + strlen(left), 256 - strlen(left), "%s%s", i > 1 ? " " : "", argv[i]);
    if (rc == 0)
        assert_null(argv[argc]);
    return rc;
}

static void must_load(struct conf *c, const char *const *flags, const char *expected_left)
{
    struct error err;
    char left[256];
    if (load(c, flags, left, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(left, expected_left);
}

static void must_refuse(struct conf *c, const char *const *flags, enum error_code code, const char *const *says)
{
    struct error err;
    char left[256];
    assert_int_equal(load(c, flags, left, &err), -1);
    assert_int_equal(err.code, code);
    for (; *says; says++)
        if (!strstr(err.message, *says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, *says);
}
#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SAYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void starts_with_the_defaults(void **state)
{
    struct conf *c = *state;
    assert_string_equal(c->http_listen, "127.0.0.1:8080");
    assert_int_equal(c->http_workers, 16);
    assert_int_equal(c->upload_max_bytes, 64 << 20);
    assert_int_equal(c->http_idle_timeout, 60000);
    assert_string_equal(c->auth, "auto");
    assert_false(c->tenants_auto_create);
}

static void reads_each_notation(void **state)
{
    struct conf *c = *state;
    static const struct {
        const char *name, *value;
        int64_t expected;
    } cases[] = {
        {"upload.max_bytes", "1024", 1024},      {"upload.max_bytes", "64M", 64 << 20},
        {"upload.max_bytes", "64MiB", 64 << 20}, {"upload.max_bytes", "64MB", 64000000},
        {"upload.max_bytes", "64 kB", 64000},    {"upload.max_bytes", "2GiB", 2LL << 30},
        {"upload.max_bytes", "16G", 16LL << 30}, {"disk.reserve", "0", 0},
        {"disk.reserve", "1T", 1LL << 40},       {"http.idle_timeout", "1500ms", 1500},
        {"http.idle_timeout", "2s", 2000},       {"http.idle_timeout", "5m", 300000},
        {"http.idle_timeout", "1h", 3600000},    {"retry.max", "1d", 86400000},
        {"http.drain_timeout", "0", 0},          {"http.workers", "1024", 1024},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        if (conf_set(c, cases[i].name, cases[i].value, &err) < 0)
            fail_msg("%s", err.message);
        int64_t got = strcmp(cases[i].name, "upload.max_bytes") == 0     ? c->upload_max_bytes
                      : strcmp(cases[i].name, "disk.reserve") == 0       ? c->disk_reserve
                      : strcmp(cases[i].name, "http.idle_timeout") == 0  ? c->http_idle_timeout
                      : strcmp(cases[i].name, "http.drain_timeout") == 0 ? c->http_drain_timeout
                      : strcmp(cases[i].name, "retry.max") == 0          ? c->retry_max
                                                                         : c->http_workers;
        if (got != cases[i].expected)
            fail_msg("%s gave %lld", cases[i].value, (long long)got);
    }
    static const char *const yes[] = {"true", "yes", "on", "1", "TRUE"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        c->tenants_auto_create = false;
        assert_int_equal(conf_set(c, "tenants.auto_create", yes[i], NULL), 0);
        assert_true(c->tenants_auto_create);
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        c->tenants_auto_create = true;
        assert_int_equal(conf_set(c, "tenants.auto_create", no[i], NULL), 0);
        assert_false(c->tenants_auto_create);
    }
}

static void refuses_wrong_values(void **state)
{
    struct conf *c = *state;
    static const struct {
        const char *name, *value, *allowed;
    } cases[] = {
        {"http.workers", "", "a whole number from 1 to 1024"},
        {"http.workers", "0", "from 1 to 1024"},
        {"http.workers", "1025", "from 1 to 1024"},
        {"http.workers", "-1", "from 1 to 1024"},
        {"http.workers", "4x", "from 1 to 1024"},
        {"http.workers", "4k", "from 1 to 1024"},
        {"http.workers", " 4", "from 1 to 1024"},
        {"http.workers", "99999999999999999999", "from 1 to 1024"},
        {"upload.max_bytes", "64X", "a size from 1KiB to 16GiB, such as 64M"},
        {"upload.max_bytes", "9999999999T", "from 1KiB to 16GiB"},
        {"upload.max_bytes", "M", "from 1KiB to 16GiB"},
        {"upload.max_bytes", "64m", "from 1KiB to 16GiB"},
        {"http.idle_timeout", "30", "a time with its unit from 1s to 1h, such as 500ms"},
        {"http.idle_timeout", "30 parsecs", "from 1s to 1h"},
        {"http.idle_timeout", "2h", "from 1s to 1h"},
        {"auth", "on", "one of auto, off"},
        {"auth", "", "one of auto, off"},
        {"auth", "auto|off", "one of auto, off"},
        {"auth", "aut", "one of auto, off"},
        {"tenants.auto_create", "maybe", "true or false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        if (conf_set(c, cases[i].name, cases[i].value, &err) == 0)
            fail_msg("%s = %s was taken", cases[i].name, cases[i].value);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_non_null(strstr(err.message, cases[i].name));
        assert_non_null(strstr(err.message, cases[i].value));
        assert_non_null(strstr(err.message, cases[i].allowed));
    }
    assert_int_equal(c->http_workers, 16);
    assert_int_equal(c->upload_max_bytes, 64 << 20);
    assert_string_equal(c->auth, "auto");
}

static void suggests_the_nearest_name(void **state)
{
    static const struct {
        const char *written, *suggestion;
    } cases[] = {
        {"http.worker", "\"http.workers\""}, {"http_workers", "\"http.workers\""}, {"htp.listen", "\"http.listen\""},
        {"data.dirs", "\"data.dir\""},       {"LOG.LEVEL", "\"log.level\""},       {"serch.k", "\"search.k\""},
    };
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(conf_set(*state, cases[i].written, "1", &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.message, cases[i].suggestion))
            fail_msg("%s", err.message);
    }
    assert_int_equal(conf_set(*state, "completely.different.thing", "1", &err), -1);
    assert_null(strstr(err.message, "did you mean"));
    assert_int_equal(conf_set(*state, "Where things are", "1", &err), -1); // the title of a section
}

static void flags_win_over_variables_over_the_file(void **state)
{
    struct conf *c = *state;
    write_file("# a comment\n\n  http.workers = 3\nhttp.queue=30\r\nsearch.k = 5\nserver = \" spaced \"\n");
    setenv("DEEPLENS_HTTP_QUEUE", "40", 1);
    setenv("DEEPLENS_SEARCH_K", "6", 1);
    setenv("DEEPLENS_LOG_LEVEL", "", 1);
    setenv("DEEPLENS_TEST_ANYTHING", "x", 1);
    must_load(c, FLAGS("serve", "--search-k", "7", "rest"), "serve rest");
    assert_int_equal(c->http_workers, 3);
    assert_int_equal(c->http_queue, 40);
    assert_int_equal(c->search_k, 7);
    assert_string_equal(c->server, " spaced ");
    assert_string_equal(c->log_level, "info");
}

// As the other system's services have them; ours win.
static void takes_the_variables_of_others(void **state)
{
    static const char *const names[] = {"KAFKA_BROKERS", "KAFKA_CLIENT_ID", "KAFKA_GROUP_ID", "KAFKA_TOPIC"};
    struct conf *c = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        setenv(names[i], names[i] + strlen("KAFKA_"), 1);
    setenv("DEEPLENS_KAFKA_MESSAGE_TOPIC", "ours", 1);
    must_load(c, FLAGS("serve"), "serve");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    assert_string_equal(c->kafka_brokers, "BROKERS");
    assert_string_equal(c->kafka_client_id, "CLIENT_ID");
    assert_string_equal(c->kafka_message_group, "GROUP_ID");
    assert_string_equal(c->kafka_message_topic, "ours");
}

static void takes_its_flags_and_leaves_the_rest(void **state)
{
    struct conf *c = *state;
    must_load(c,
              FLAGS("upload", "--json", "--http-workers=5", "-", "--tenants-auto-create", "--other", "7", "--fault",
                    "-x", "--", "--http-workers", "--fault"),
              "upload --json - --other 7 -- --http-workers --fault");
    assert_int_equal(c->http_workers, 5);
    assert_true(c->tenants_auto_create);
    assert_string_equal(c->fault, "-x");
    must_load(c, FLAGS("--no-tenants-auto-create", "--fault="), "");
    assert_false(c->tenants_auto_create);
    assert_string_equal(c->fault, "");
    must_load(c, FLAGS("--tenants-auto-create=yes"), "");
    assert_true(c->tenants_auto_create);
    must_load(c, NULL, "");
}

static void refuses_wrong_flags(void **state)
{
    must_refuse(*state, FLAGS("--http-workers"), ERR_USAGE, SAYS("--http-workers", "value"));
    must_refuse(*state, FLAGS("--http-workers", "--json"), ERR_USAGE, SAYS("--http-workers", "value"));
    must_refuse(*state, FLAGS("--config"), ERR_USAGE, SAYS("--config", "value"));
    must_refuse(*state, FLAGS("--no-tenants-auto-create=1"), ERR_USAGE, SAYS("takes no value"));
    must_refuse(*state, FLAGS("--http-workers", "many"), ERR_CONFIG, SAYS("--http-workers", "\"many\"", "1 to 1024"));
    must_refuse(*state, FLAGS("--http-workers=many"), ERR_CONFIG, SAYS("--http-workers:", "\"many\""));
    must_load(*state, FLAGS("--no-http-workers", "--no-"), "--no-http-workers --no-"); // nothing of ours
}

static void refuses_wrong_variables(void **state)
{
    setenv("DEEPLENS_HTTP_WORKER", "5", 1);
    must_refuse(*state, NULL, ERR_CONFIG, SAYS("DEEPLENS_HTTP_WORKER ", "did you mean DEEPLENS_HTTP_WORKERS?"));
    unsetenv("DEEPLENS_HTTP_WORKER");
    setenv("DEEPLENS_AUTH", "never", 1);
    must_refuse(*state, NULL, ERR_CONFIG, SAYS("DEEPLENS_AUTH", "\"never\"", "auto, off"));
    unsetenv("DEEPLENS_AUTH");
    setenv("DEEPLENS_API_PASSWORD_X", "hunter2", 1);
    struct error err;
    char left[256];
    assert_int_equal(load(*state, NULL, left, &err), -1);
    assert_null(strstr(err.message, "hunter2"));
}

static void refuses_wrong_files(void **state)
{
    char wanted[200];
    write_file("http.workers = 3\n\nhttp.worker = 4\n");
    snprintf(wanted, sizeof wanted, "%s, line 3", file);
    must_refuse(*state, NULL, ERR_CONFIG, SAYS(wanted, "\"http.worker\"", "did you mean \"http.workers\"?"));
    write_file("what is this\n");
    must_refuse(*state, NULL, ERR_CONFIG, SAYS("line 1", "name = value"));
    FILE *out = fopen(file, "w");
    for (int i = 0; i < 5000; i++)
        fputc('x', out);
    fclose(out);
    must_refuse(*state, NULL, ERR_CONFIG, SAYS("line 1", "too long"));
    unlink(file);
    must_refuse(*state, NULL, ERR_CONFIG, SAYS(file, "No such file"));
    must_refuse(*state, FLAGS("--config", "/no/such/file"), ERR_CONFIG, SAYS("/no/such/file"));
}

static void the_flag_names_the_file(void **state)
{
    struct conf *c = *state;
    write_file("http.workers = 9");
    setenv("DEEPLENS_CONFIG", "/no/such/file", 1);
    must_load(c, FLAGS("a", "--config", file, "b"), "a b");
    assert_int_equal(c->http_workers, 9);
}

static void finds_the_data_folder(void **state)
{
    struct conf c;
    setenv("HOME", "/home/someone", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
    conf_init(&c);
    assert_string_equal(c.data_dir, "/data/deeplens");
    conf_free(&c);
    setenv("XDG_DATA_HOME", "relative", 1);
    conf_init(&c);
    assert_string_equal(c.data_dir, "/home/someone/.local/share/deeplens");
    assert_int_equal(conf_set(&c, "data.dir", "/elsewhere", NULL), 0);
    assert_string_equal(c.data_dir, "/elsewhere");
    assert_int_equal(conf_set(&c, "data.dir", "", NULL), 0);
    assert_string_equal(c.data_dir, "/home/someone/.local/share/deeplens");
    conf_free(&c);
    conf_free(&c);
    conf_free(NULL);
}

static void knows_its_flags(void **state)
{
    bool value = false;
    assert_true(conf_is_option("--http-listen", &value) && value);
    assert_true(conf_is_option("--http-listen=x", &value) && !value);
    assert_true(conf_is_option("--config", &value) && value);
    assert_true(conf_is_option("--tenants-auto-create", &value) && !value);
    value = true;
    assert_true(conf_is_option("--no-tenants-auto-create", &value) && !value);
    value = true;
    assert_false(conf_is_option("--json", &value));
    assert_false(conf_is_option("--http.listen", &value));
    assert_false(conf_is_option("--no-http-listen", &value));
    assert_false(conf_is_option("--http-list", &value));
    assert_false(conf_is_option("http-listen", &value));
    assert_true(value);
}

static char *printed(void (*print)(FILE *), const struct conf *c)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    if (print)
        print(out);
    else
        conf_print_effective(c, out);
    fclose(out);
    return text;
}

static void shows_every_option(void **state)
{
    _cleanup_free_ char *help = printed(conf_print_help, NULL), *page = printed(conf_print_markdown, NULL),
                        *flags = printed(conf_print_flags, NULL), *effective = printed(NULL, *state);
#define SECTION(title) assert_non_null(strstr(help, title ":\n"));
#define PREFIX(field, name, ...) assert_non_null(strstr(page, "| `" name "…`<br>`--"));
#define STRING(field, name, ...) CHECK(name)
#define CHOICE STRING
#define BOOL STRING
#define INT STRING
#define SIZE STRING
#define TIME STRING
#define CHECK(name)                                                                                                    \
    assert_non_null(strstr(page, "| `" name "`<br>`--"));                                                              \
    assert_non_null(strstr(effective, "\n" name " = "));
#include "conf/options.def"
#undef SECTION
#undef PREFIX
#undef STRING
#undef CHOICE
#undef BOOL
#undef INT
#undef SIZE
#undef TIME
#undef CHECK
    assert_non_null(strstr(help, "  --http-poll-threads N "));
    assert_non_null(strstr(help, "(default 64MiB)"));
    assert_non_null(strstr(help, "(auto|off; default auto)"));
    assert_non_null(strstr(flags, "\n--http-listen\n"));
    assert_non_null(strstr(flags, "\n--no-tenants-auto-create\n"));
    for (const char *line = help; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
}

static void what_is_shown_can_be_loaded(void **state)
{
    struct conf *c = *state, again;
    struct error err;
    char left[256];
    must_load(c, FLAGS("--upload-max-bytes", "5000", "--retry-base", "90s", "--tenants-auto-create", "--trace", "blob"),
              "");
    _cleanup_free_ char *shown = printed(NULL, c);
    write_file(shown);
    conf_init(&again);
    if (load(&again, NULL, left, &err) < 0)
        fail_msg("%s", err.message);
    _cleanup_free_ char *second = printed(NULL, &again);
    assert_string_equal(shown, second);
    assert_int_equal(again.upload_max_bytes, 5000);
    assert_int_equal(again.retry_base, 90000);
    conf_free(&again);
}

static void hides_secrets_and_passwords_in_addresses(void **state)
{
    struct conf *c = *state;
    assert_int_equal(conf_set(c, "server", "https://user:hunter2@host:8443/x", NULL), 0);
    assert_int_equal(conf_set(c, "whatsapp.app_secret", "hunter3", NULL), 0);
    _cleanup_free_ char *shown = printed(NULL, c);
    assert_null(strstr(shown, "hunter"));
    assert_non_null(strstr(shown, "server = \"https://user:***@host:8443/x\"\n"));
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(starts_with_the_defaults),
        EACH(reads_each_notation),
        EACH(refuses_wrong_values),
        EACH(suggests_the_nearest_name),
        EACH(flags_win_over_variables_over_the_file),
        EACH(takes_the_variables_of_others),
        EACH(takes_its_flags_and_leaves_the_rest),
        EACH(refuses_wrong_flags),
        EACH(refuses_wrong_variables),
        EACH(refuses_wrong_files),
        EACH(the_flag_names_the_file),
        EACH(finds_the_data_folder),
        EACH(knows_its_flags),
        EACH(shows_every_option),
        EACH(what_is_shown_can_be_loaded),
        EACH(hides_secrets_and_passwords_in_addresses),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
