// SPDX-License-Identifier: Apache-2.0
// Connections, workers, slow clients, limits, drain; and addresses to listen on.
#include "support.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static void test_many_connections(void **state)
{
    enum { COUNT = 200 };
    int fds[COUNT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++)
            fds[i] = client_connect(*state);
        for (int i = 0; i < COUNT; i++)
            client_puts(fds[i],
                        i % 2 ? "GET /worker HTTP/1.1\r\nHost: t\r\n\r\n" : "GET /quick HTTP/1.1\r\nHost: t\r\n\r\n");
        for (int i = 0; i < COUNT; i++) {
            struct reply r;
            assert_int_equal(client_read(fds[i], false, &r), 0);
            assert_int_equal(r.status, 200);
            reply_free(&r);
            close(fds[i]);
        }
    }
    wait_until(&((struct world *)*state)->done, 3 * COUNT);
}

static void test_full_queue(void **state)
{
    enum { COUNT = 10 };
    struct world *w = *state;
    w->config.workers = 1;
    w->config.max_queue = 1;
    world_start(w);
    struct reply r;
    char text[256];
    int running = client_connect(w), fds[COUNT], passed = 0;
    client_puts(running, "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
    world_wait_blocked(w, 1);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], "GET /worker HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    wait_until(&w->done, COUNT - 1); // all but the one that waits in the queue
    assert_int_equal(ask_status(w, "GET", "/quick", NULL, NULL), 200);
    world_open_gate(w);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(client_read(fds[i], false, &r), 0);
        if (r.status == 200) {
            passed++;
        } else {
            assert_problem(&r, 503, "OVERLOADED");
            assert_string_equal(reply_header(&r, "Retry-After", text), "1");
        }
        reply_free(&r);
        close(fds[i]);
    }
    assert_int_equal(passed, 1);
    assert_int_equal(client_read(running, false, &r), 0);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    close(running);
}

// `blocking` takes every thread of its pool; `other` is answered all the same.
static void check_pools_apart(struct world *w, const char *blocking, int count, const char *other)
{
    int fds[4];
    struct reply r;
    char text[128];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", blocking);
    for (int i = 0; i < count; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], text);
    }
    world_wait_blocked(w, count);
    assert_int_equal(ask_status(w, "GET", other, NULL, NULL), 200);
    world_open_gate(w);
    for (int i = 0; i < count; i++) {
        assert_int_equal(client_read(fds[i], false, &r), 0);
        assert_int_equal(r.status, 200);
        reply_free(&r);
        close(fds[i]);
    }
}

static void test_waiters_do_not_hold_up_workers(void **state)
{
    struct world *w = *state;
    check_pools_apart(w, "/block-waiter", (int)w->config.waiters, "/worker");
}

static void test_workers_do_not_hold_up_waiters(void **state)
{
    struct world *w = *state;
    check_pools_apart(w, "/block", (int)w->config.workers, "/waiter");
}

static void test_client_leaves_a_running_handler(void **state)
{
    struct world *w = *state;
    int fd = client_connect(w);
    client_puts(fd, "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
    world_wait_blocked(w, 1);
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    world_open_gate(w);
    wait_until(&w->done, 1);
}

static void test_connection_limit(void **state)
{
    struct world *w = *state;
    w->config.max_connections = 2;
    world_start(w);
    struct reply r;
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], "GET /quick HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(client_read(fds[i], false, &r), 0);
        reply_free(&r);
    }
    wait_until(&w->done, 2);
    char byte;
    assert_int_equal(recv(fds[2], &byte, 1, MSG_DONTWAIT), -1); // waits for a place
    close(fds[0]);
    assert_int_equal(client_read(fds[2], false, &r), 0);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    close(fds[1]);
    close(fds[2]);
}

static void test_silent_clients_are_closed(void **state)
{
    struct world *w = *state;
    w->config.idle_timeout_s = 1;
    world_start(w);
    static const char *const starts[] = {"", "GET /quick",
                                         "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf"};
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], starts[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(client_closed(fds[i]));
        close(fds[i]);
    }
    assert_int_equal(w->begun, 1);
    wait_until(&w->aborted, 1);
}

static void test_dripping_clients_are_closed(void **state)
{
    struct world *w = *state;
    w->config.idle_timeout_s = 1;
    world_start(w);
    static const char *const starts[] = {"GET /", "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n"};
    int fds[2];
    bool over[2] = {false, false};
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], starts[i]);
    }
    for (int drops = 0; drops < 200 && !(over[0] && over[1]); drops++) { // each within the idle timeout
        char byte;
        clock_sleep_ms(150);
        for (int i = 0; i < 2; i++)
            over[i] |= send(fds[i], "x", 1, MSG_NOSIGNAL) != 1 || recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
    }
    for (int i = 0; i < 2; i++) {
        assert_true(over[i]);
        close(fds[i]);
    }
    wait_until(&w->aborted, 1);
}

// ---- drain

static void *stopper(void *arg)
{
    static _Thread_local unsigned cut;
    cut = world_stop(arg);
    return (void *)(uintptr_t)cut;
}

static bool refused(unsigned short port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0;
    close(fd);
    return yes;
}

static void get(int fd, const char *path, int status)
{
    struct reply r;
    char text[256];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
    client_puts(fd, text);
    assert_int_equal(client_read(fd, false, &r), 0);
    assert_int_equal(r.status, status);
    reply_free(&r);
}

static void test_drain(void **state)
{
    struct world *w = *state;
    struct reply r;
    char text[256];
    int running = client_connect(w), upload = client_connect(w), kept = client_connect(w), health = client_connect(w),
        idle = client_connect(w);
    get(kept, "/quick", 200);
    get(health, "/quick", 200);
    get(idle, "/quick", 200);
    client_puts(running, "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
    world_wait_blocked(w, 1);
    client_puts(upload, "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf");
    wait_until(&w->begun, 1);
    pthread_t thread;
    void *cut;
    pthread_create(&thread, NULL, stopper, w);
    while (!refused(w->port))
        clock_sleep_ms(5);
    get(health, "/always", 200);
    client_puts(kept, "GET /worker HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_read(kept, false, &r), 0);
    assert_problem(&r, 503, "DRAINING");
    assert_string_equal(reply_header(&r, "Connection", text), "close");
    reply_free(&r);
    assert_true(client_closed(kept));
    client_puts(upload, "rest");
    assert_int_equal(client_read(upload, false, &r), 0);
    assert_int_equal(r.status, 202);
    reply_free(&r);
    world_open_gate(w);
    assert_int_equal(client_read(running, false, &r), 0);
    assert_string_equal(r.body, "let through");
    reply_free(&r);
    pthread_join(thread, &cut);
    assert_int_equal((uintptr_t)cut, 0);
    assert_true(client_closed(idle));
    int fds[] = {running, upload, kept, health, idle};
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

static void test_drain_has_an_end(void **state)
{
    struct world *w = *state;
    w->config.drain_timeout_s = 1;
    world_start(w);
    int fds[2];
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf");
        wait_until(&w->begun, i + 1);
    }
    assert_int_equal(world_stop(w), 2);
    assert_int_equal(w->aborted, 2);
    for (int i = 0; i < 2; i++) {
        assert_true(client_closed(fds[i]));
        close(fds[i]);
    }
}

static void *open_later(void *arg)
{
    clock_sleep_ms(1500);
    world_open_gate(arg);
    return NULL;
}

// A handler cannot be killed: the stop waits for it, but what had not begun is not begun any more.
static void test_drain_cuts_what_waits(void **state)
{
    struct world *w = *state;
    w->config.drain_timeout_s = 1;
    w->config.workers = 1;
    world_start(w);
    int running = client_connect(w), waiting = client_connect(w);
    client_puts(running, "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
    world_wait_blocked(w, 1);
    client_puts(waiting, "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
    wait_until(&w->begun, 1);
    pthread_t thread;
    pthread_create(&thread, NULL, open_later, w);
    assert_int_equal(world_stop(w), 2);
    pthread_join(thread, NULL);
    assert_int_equal(w->handled, 0);
    assert_int_equal(w->aborted, 1);
    assert_int_equal(w->done, 2);
    close(running);
    close(waiting);
}

static void test_stop_under_load(void **state)
{
    enum { COUNT = 100 };
    struct world *w = *state;
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(w);
        client_puts(fds[i], "GET /worker HTTP/1.1\r\nHost: t\r\n\r\nGET /content/fd HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    for (int i = 0; i < COUNT; i += 2)
        close(fds[i]);
    world_stop(w); // nothing is asserted of the answers; the teardown asserts that nothing is left behind
    for (int i = 1; i < COUNT; i += 2)
        close(fds[i]);
}

// ---- addresses

static int try_listen(struct world *w, const char *text, char shown[64], struct error *err)
{
    struct http_server *server;
    w->config.listen = text;
    if (http_start(&w->config, &server, err) != 0)
        return -1;
    snprintf(shown, 64, "%s", http_address(server));
    http_stop(server);
    return 0;
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"",       "x",     "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", ":8080",
                                      "::1:80", "[::1]", "[::1:80",   "1:2:3",      "127.0.0.1:80x",   "127.0.0.1:-1"};
    struct world *w = *state;
    struct error err;
    char shown[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_listen(w, bad[i], shown, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
    }
    assert_int_equal(try_listen(w, "0", shown, &err), 0);
    assert_memory_equal(shown, "127.0.0.1:", 10);
    assert_string_not_equal(shown, "127.0.0.1:0");
    assert_int_equal(try_listen(w, "localhost:0", shown, &err), 0);
    assert_memory_equal(shown, "127.0.0.1:", 10);
    if (try_listen(w, "[::1]:0", shown, &err) == 0)
        assert_memory_equal(shown, "[::1]:", 6);
    else // a machine without IPv6 says so in a sentence
        assert_int_equal(err.code, ERR_CONFIG);
}

static void test_address_in_use(void **state)
{
    struct world *w = *state;
    struct error err;
    char shown[64], taken[64];
    snprintf(taken, sizeof taken, "%s", http_address(w->server));
    assert_int_equal(try_listen(w, taken, shown, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.message, taken));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_PREPARED(name) cmocka_unit_test_setup_teardown(name, world_prepare, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_many_connections),
        TEST_PREPARED(test_full_queue),
        TEST(test_waiters_do_not_hold_up_workers),
        TEST(test_workers_do_not_hold_up_waiters),
        TEST(test_client_leaves_a_running_handler),
        TEST_PREPARED(test_connection_limit),
        TEST_PREPARED(test_silent_clients_are_closed),
        TEST_PREPARED(test_dripping_clients_are_closed),
        TEST(test_drain),
        TEST_PREPARED(test_drain_has_an_end),
        TEST_PREPARED(test_drain_cuts_what_waits),
        TEST(test_stop_under_load),
        TEST_PREPARED(test_addresses),
        TEST(test_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
