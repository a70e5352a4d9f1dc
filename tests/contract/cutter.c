// SPDX-License-Identifier: Apache-2.0
#include "cutter.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 65536, PAIRS_MAX = 4096 };

struct cutter {
    int listener, target_port;
    pthread_t thread;
    pthread_mutex_t lock; // guards what follows
    bool armed, cut;
    enum cutter_side side;
    int left; // messages that may still pass
    pthread_t pairs[PAIRS_MAX];
    int clients[PAIRS_MAX]; // -1: closed
    size_t pair_count;
};

// Where one direction of a connection stands in the protocol.
struct stream {
    struct cutter *c;
    enum cutter_side side;
    int from, to;
    bool started; // the first message of a client has no type
    unsigned char head[5];
    size_t head_len, body_left;
};

struct pair {
    struct cutter *c;
    size_t number;
    int client;
};

// Whether the message that begins here may pass.
static bool may_pass(struct stream *s)
{
    struct cutter *c = s->c;
    pthread_mutex_lock(&c->lock);
    bool counts = c->armed && c->side == s->side;
    bool pass = !counts || c->left-- > 0;
    if (!pass) {
        c->armed = false;
        c->cut = true;
    }
    pthread_mutex_unlock(&c->lock);
    return pass;
}

// How many of the bytes may pass; fewer than all: here it is cut.
static size_t passing(struct stream *s, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (s->body_left) {
            size_t step = s->body_left < len - i ? s->body_left : len - i;
            s->body_left -= step;
            i += step;
            continue;
        }
        size_t head = s->started ? 5 : 4;
        if (s->head_len == 0 && s->started && !may_pass(s))
            return i;
        s->head[s->head_len++] = data[i++];
        if (s->head_len < head)
            continue;
        uint32_t size;
        memcpy(&size, s->head + head - 4, sizeof size);
        s->body_left = ntohl(size) - 4;
        s->head_len = 0;
        s->started = true;
    }
    return len;
}

static bool send_all(int fd, const unsigned char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

// False: the connection is over.
static bool move(struct stream *s)
{
    unsigned char data[PIECE];
    ssize_t n = recv(s->from, data, sizeof data, 0);
    if (n <= 0)
        return false;
    size_t pass = passing(s, data, (size_t)n);
    return send_all(s->to, data, pass) && pass == (size_t)n;
}

static void *serve_pair(void *arg)
{
    struct pair *pair = arg;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)pair->c->target_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stream up = {.c = pair->c, .side = CUT_TO_SERVER, .from = pair->client, .to = server};
    struct stream down = {.c = pair->c, .side = CUT_TO_CLIENT, .from = server, .to = pair->client, .started = true};
    bool open = connect(server, (struct sockaddr *)&at, sizeof at) == 0;
    while (open) {
        struct pollfd fds[] = {{.fd = pair->client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            break;
        open = (!fds[0].revents || move(&up)) && (!fds[1].revents || move(&down));
    }
    close(server);
    pthread_mutex_lock(&pair->c->lock);
    pair->c->clients[pair->number] = -1;
    close(pair->client);
    pthread_mutex_unlock(&pair->c->lock);
    free(pair);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct cutter *c = arg;
    for (int client; (client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        struct pair *pair = malloc(sizeof *pair);
        if (!pair)
            abort();
        pthread_mutex_lock(&c->lock);
        *pair = (struct pair){c, c->pair_count, client};
        if (c->pair_count == PAIRS_MAX || pthread_create(&c->pairs[c->pair_count], NULL, serve_pair, pair) != 0)
            abort();
        c->clients[c->pair_count++] = client;
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

struct cutter *cutter_start(int target_port, int *port)
{
    struct cutter *c = calloc(1, sizeof *c);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    if (!c)
        return NULL;
    c->target_port = target_port;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&c->lock, NULL);
    if (bind(c->listener, (struct sockaddr *)&at, len) < 0 || listen(c->listener, 64) < 0 ||
        getsockname(c->listener, (struct sockaddr *)&at, &len) < 0 ||
        pthread_create(&c->thread, NULL, accept_all, c) != 0) {
        close(c->listener);
        free(c);
        return NULL;
    }
    *port = ntohs(at.sin_port);
    return c;
}

// Each pair is woken by its client's end, which must not be closed beside it.
void cutter_close(struct cutter *c)
{
    shutdown(c->listener, SHUT_RDWR);
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->pair_count; i++)
        if (c->clients[i] >= 0)
            shutdown(c->clients[i], SHUT_RDWR);
    pthread_mutex_unlock(&c->lock);
}

void cutter_stop(struct cutter *c)
{
    cutter_close(c);
    pthread_join(c->thread, NULL);
    for (size_t i = 0; i < c->pair_count; i++)
        pthread_join(c->pairs[i], NULL);
    close(c->listener);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void cutter_arm(struct cutter *c, enum cutter_side side, int after)
{
    pthread_mutex_lock(&c->lock);
    c->armed = true;
    c->cut = false;
    c->side = side;
    c->left = after;
    pthread_mutex_unlock(&c->lock);
}

bool cutter_disarm(struct cutter *c)
{
    pthread_mutex_lock(&c->lock);
    bool cut = c->cut;
    c->armed = c->cut = false;
    pthread_mutex_unlock(&c->lock);
    return cut;
}
