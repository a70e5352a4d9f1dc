// SPDX-License-Identifier: Apache-2.0
// Metrics: counting from many threads, bounded labels, and the text that Prometheus reads.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "obs/metrics.h"

// Metrics live as long as the process: each test uses some that no other does.

static void must_show(const char *line)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(metrics_write(&out), 0);
    if (!strstr(out.data, line))
        fail_msg("\"%s\" is not in\n%s", line, out.data);
}

static void counts(void **state)
{
    must_show("\n# TYPE deeplens_searches_total counter\ndeeplens_searches_total 0\n");
    metric_add(M_SEARCHES, NULL, 1);
    metric_add(M_SEARCHES, NULL, 41);
    assert_int_equal(metric_get(M_SEARCHES, NULL), 42);
    must_show("\n# HELP deeplens_searches_total Searches answered\n");
    must_show("\ndeeplens_searches_total 42\n");
}

static void sets_gauges(void **state)
{
    metric_set(M_LEDGER, "accepted", 12);
    metric_set(M_LEDGER, "accepted", 10);
    metric_add(M_LEDGER, "accepted", -3);
    must_show("\n# TYPE deeplens_ledger_items gauge\ndeeplens_ledger_items{state=\"accepted\"} 7\n");
    assert_int_equal(metric_get(M_LEDGER, "failed"), 0);
}

static void observes_in_buckets(void **state)
{
    metric_observe(M_STEP_SECONDS, "extract", 0.004);
    metric_observe(M_STEP_SECONDS, "extract", 0.005); // an end belongs to its bucket
    metric_observe(M_STEP_SECONDS, "extract", 0.3);
    metric_observe(M_STEP_SECONDS, "extract", 1000);
    metric_observe(M_STEP_SECONDS, "extract", -1); // a clock that went back
    assert_int_equal(metric_get(M_STEP_SECONDS, "extract"), 5);
    must_show("\n# TYPE deeplens_step_duration_seconds histogram\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"0.0005\"} 1\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"0.0025\"} 1\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"0.005\"} 3\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"0.5\"} 4\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"60\"} 4\n");
    must_show("\ndeeplens_step_duration_seconds_bucket{step=\"extract\",le=\"+Inf\"} 5\n");
    must_show("\ndeeplens_step_duration_seconds_sum{step=\"extract\"} 1000.309000\n");
    must_show("\ndeeplens_step_duration_seconds_count{step=\"extract\"} 5\n");
    metric_observe(M_SEARCH_SECONDS, NULL, 0.02);
    must_show("\ndeeplens_search_duration_seconds_bucket{le=\"0.025\"} 1\n");
    must_show("\ndeeplens_search_duration_seconds_sum 0.020000\n");
}

static void escapes_labels(void **state)
{
    metric_add(M_UPLOADS_REFUSED, "a\"b\\c\nd", 1);
    must_show("\ndeeplens_uploads_refused_total{code=\"a\\\"b\\\\c\\nd\"} 1\n");
}

static void g8_labels_are_bounded(void **state)
{
    char label[100];
    for (int i = 0; i < METRIC_LABELS_MAX + 50; i++) {
        snprintf(label, sizeof label, "group-%d", i);
        metric_set(M_QUEUE_EVENTS, label, 7);
        metric_add(M_DEAD_LETTERS, label, 1);
    }
    assert_int_equal(metric_get(M_DEAD_LETTERS, "group-0"), 1);
    assert_int_equal(metric_get(M_DEAD_LETTERS, "other"), 50);
    metric_add(M_DEAD_LETTERS, "group-3", 1);
    assert_int_equal(metric_get(M_DEAD_LETTERS, "group-3"), 2);
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = 0;
    metric_add(M_DEAD_LETTERS, label, 5);
    assert_int_equal(metric_get(M_DEAD_LETTERS, "other"), 55);
    metric_add(M_EVENTS_HANDLED, label, 1);
    must_show("\ndeeplens_events_handled_total{step=\"other\"} 1\n");
}

static void says_what_runs_since_when(void **state)
{
    metrics_init();
    assert_in_range(metric_get(M_START_TIME, NULL), clock_now_ms() / 1000 - 5, clock_now_ms() / 1000);
    must_show("\ndeeplens_build_info{version=\"" DEEPLENS_VERSION "\"} 1\n");
}

static void fails_when_there_is_no_room(void **state)
{
    _cleanup_buf_ struct buf out = BUF_INIT(100);
    assert_int_equal(metrics_write(&out), -1);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *arg)
{
    static const char *const labels[] = {"200", "404", "500", "503", "202"};
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(M_HTTP_REQUESTS, labels[i % 5], 1);
        metric_observe(M_HTTP_SECONDS, NULL, 0.001 * (i % 100));
    }
    return NULL;
}

static void counts_from_many_threads(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < 20; i++) { // scrapes meanwhile
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        assert_int_equal(metrics_write(&out), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_get(M_HTTP_REQUESTS, "404"), THREADS * ROUNDS / 5);
    assert_int_equal(metric_get(M_HTTP_SECONDS, NULL), THREADS * ROUNDS);
}

// Every line of the text is a comment or a sample; histograms never go down from bucket to bucket.
static void every_line_is_well_formed(void **state)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(metrics_write(&out), 0);
    long long last = 0;
    for (char *save, *line = strtok_r(out.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0)
            continue;
        char *value = strrchr(line, ' '), *end;
        assert_non_null(value);
        strtod(value + 1, &end);
        assert_true(end > value + 1 && !*end);
        assert_true(value[-1] == '}' || strcspn(line, "{ ") == (size_t)(value - line));
        long long n = strtoll(value + 1, NULL, 10);
        if (strstr(line, "_bucket{") && !strstr(line, "le=\"0.0005\""))
            assert_true(n >= last);
        last = n;
    }
}

static void the_page_has_every_metric(void **state)
{
    char *page = NULL;
    size_t len;
    FILE *out = open_memstream(&page, &len);
    assert_non_null(out);
    metrics_markdown(out);
    fclose(out);
#define METRIC(symbol, name, kind, label, text) assert_non_null(strstr(page, "| `" name "` | "));
#include "obs/counters.def"
#undef METRIC
    assert_non_null(strstr(page, "| `deeplens_dead_letters_total` | counter | `code` | Events given up"));
    free(page);
}

static void test_g8_samples_with_several_labels_are_bounded(void **state)
{
    static struct metric_sample samples[METRIC_SAMPLES_MAX + 10];
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    size_t lines = 0;
    for (size_t i = 0; i < METRIC_SAMPLES_MAX + 10; i++)
        samples[i] = (struct metric_sample){{"a\"b", "t", "0"}, 7};
    assert_int_equal(metrics_write_samples(M_PARTITION_LAG, samples, 1, &out), 0);
    assert_non_null(strstr(out.data, "# TYPE deeplens_partition_lag_events gauge\n"));
    assert_non_null(
        strstr(out.data, "\ndeeplens_partition_lag_events{group=\"a\\\"b\",topic=\"t\",partition=\"0\"} 7\n"));
    buf_clear(&out);
    assert_int_equal(metrics_write_samples(M_PARTITION_LAG, samples, METRIC_SAMPLES_MAX + 10, &out), 0);
    for (const char *p = out.data; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 2 + METRIC_SAMPLES_MAX);
    buf_clear(&out);
    assert_int_equal(metrics_write(&out), 0);
    assert_null(strstr(out.data, "deeplens_partition_lag_events"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(sets_gauges),
        cmocka_unit_test(observes_in_buckets),
        cmocka_unit_test(escapes_labels),
        cmocka_unit_test(g8_labels_are_bounded),
        cmocka_unit_test(says_what_runs_since_when),
        cmocka_unit_test(fails_when_there_is_no_room),
        cmocka_unit_test(counts_from_many_threads),
        cmocka_unit_test(every_line_is_well_formed),
        cmocka_unit_test(the_page_has_every_metric),
        cmocka_unit_test(test_g8_samples_with_several_labels_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
