// SPDX-License-Identifier: Apache-2.0
// The peer of the acks: what libmicrohttpd alone can do. Takes any POST, writes the body under its final name as it
// comes, looks at nothing, and gives the same answer as the server. `bare_mhd FOLDER THREADS`: unsynced, THREADS of
// them poll. `bare_mhd FOLDER synced`: file and folder are synced before the answer, in a thread for each connection,
// so that the file system can join what is synced at the same time.
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/http_int.h"

enum { CONNECTIONS = 4096 };

struct bare_upload {
    int fd;
    unsigned number;
};

static int folder;
static bool synced;
static _Atomic unsigned uploads;

static enum MHD_Result answer(struct MHD_Connection *conn, unsigned number)
{
    char text[512];
    int len = snprintf(text, sizeof text,
                       "{\"imageId\":\"img_00000000-0000-7000-8000-%012u\",\"status\":\"uploaded\",\"message\":\"Image "
                       "uploaded successfully. Processing started.\",\"estimatedProcessingTime\":\"1-2 seconds\","
                       "\"duplicate\":false,\"statusCheckUrl\":\"/api/v1/images/img_00000000-0000-7000-8000-%012u/"
                       "status\"}",
                       number, number);
    struct MHD_Response *response = MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result rc = MHD_queue_response(conn, 202, response);
    MHD_destroy_response(response);
    return rc;
}

static struct bare_upload *begin(void)
{
    char name[32];
    struct bare_upload *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->number = uploads++;
    snprintf(name, sizeof name, "%08u.jpg", u->number);
    u->fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return u;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    (void)arg, (void)url, (void)method, (void)version;
    struct bare_upload *u = *context;
    if (!u) {
        *context = begin();
        return *context ? MHD_YES : MHD_NO;
    }
    if (*size == 0)
        return synced && (fsync(u->fd) < 0 || fsync(folder) < 0) ? MHD_NO : answer(conn, u->number);
    if (write(u->fd, data, *size) != (ssize_t)*size)
        return MHD_NO;
    *size = 0;
    return MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **context, enum MHD_RequestTerminationCode code)
{
    (void)arg, (void)conn, (void)code;
    struct bare_upload *u = *context;
    if (u && u->fd >= 0)
        close(u->fd);
    free(u);
    *context = NULL;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    int number;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    folder = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder < 0) {
        fprintf(stderr, "usage: bare_mhd FOLDER THREADS|synced\n");
        return 2;
    }
    synced = strcmp(argv[2], "synced") == 0;
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_OptionItem threads[] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)strtoul(argv[2], NULL, 10), NULL},
                                       {MHD_OPTION_END, 0, NULL}};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        synced ? MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION : MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL,
        NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        NULL, MHD_OPTION_ARRAY, synced ? threads + 1 : threads, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "bare_mhd: cannot start\n");
        return 1;
    }
    printf("Bare at http://127.0.0.1:%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    sigwait(&signals, &number);
    MHD_stop_daemon(daemon);
    return 0;
}
