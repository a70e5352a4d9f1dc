// SPDX-License-Identifier: Apache-2.0
// A worker's threads: one a stream, each waiting on its own socket; the first waits for the end of the control socket,
// so that a worker never outlives who started it, whatever the others are stuck in.
#include "backends/extractor/worker_main.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/extractor/worker_wire.h"

struct stream {
    struct net *net;
    int number;
    uint8_t *pictures;
    float *vectors;
};

static void *serve(void *arg)
{
    struct stream *s = arg;
    int fd = WORKER_STREAMS + s->number;
    struct worker_request request;
    while (recv(fd, &request, sizeof request, 0) == sizeof request) {
        struct worker_answer answer = {0};
        answer.rc = net_run(s->net, s->number, s->pictures, request.count, s->vectors, &answer.error);
        if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
    }
    return NULL;
}

static int start_streams(struct net *net, const struct worker_order *order)
{
    size_t room = worker_room_bytes(&order->spec, &order->config);
    uint8_t *memory =
        mmap(NULL, room * (size_t)order->config.streams, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_MEMORY, 0);
    if (memory == MAP_FAILED)
        return -1;
    for (int i = 0; i < order->config.streams; i++) {
        pthread_t thread;
        struct stream *s = malloc(sizeof *s);
        if (!s)
            return -1;
        uint8_t *mine = memory + room * (size_t)i;
        *s = (struct stream){net, i, mine, (float *)(void *)(mine + worker_vectors_at(&order->spec, &order->config))};
        if (pthread_create(&thread, NULL, serve, s) != 0)
            return -1;
        pthread_detach(thread);
    }
    return 0;
}

// A terminal's Ctrl-C reaches the whole group; who started the worker decides when it ends.
static void ignore_signals(void)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

int worker_main(void)
{
    struct worker_order order;
    struct worker_report report = {0};
    struct net *net = NULL;
    if (recv(WORKER_CONTROL, &order, sizeof order, 0) != sizeof order || order.magic != WORKER_MAGIC)
        return 1;
    ignore_signals();
    report.rc = net_open(&order.spec, &order.config, &net, &report.error);
    if (report.rc == 0) {
        report.dimension = net_dimension(net);
        if (start_streams(net, &order) < 0)
            report.rc =
                error_errno(&report.error, ERR_NO_MEMORY, errno, "Model %s: its worker cannot start", order.spec.name);
    }
    char none;
    if (send(WORKER_CONTROL, &report, sizeof report, MSG_NOSIGNAL) == sizeof report)
        while (recv(WORKER_CONTROL, &none, 1, 0) < 0 && errno == EINTR)
            ;
    _exit(0); // threads may be in OpenVINO: nothing is torn down under them
}
