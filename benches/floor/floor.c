//! The floor: what it costs to receive a request and send a constant answer, and nothing else.
//!
//! One thread, one epoll set, level-triggered: a wait shared by the connections that are ready, one recv and one send a
//! request. Nothing is parsed but, when requests have a body, the end of the first request's head, so that a request in
//! several segments is answered once. A WSGI server does all of this as well, so none can be cheaper without batching
//! across connections. Usage: floor PORT BODY_BYTES ANSWER_FILE

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 20, CONNECTIONS_MAX = 65536, EVENTS_MAX = 512, RECEIVE_MAX = 65536 };

static char answer[ANSWER_MAX];
static size_t answer_bytes;
static size_t body_bytes;
/* For each descriptor, how much of the request under way is still to come; 0 between requests. */
static size_t missing[CONNECTIONS_MAX];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void read_answer(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail(path);
    answer_bytes = fread(answer, 1, sizeof answer, file);
    fclose(file);
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(listener, 4096) != 0)
        fail("listen");
    return listener;
}

static void watch(int epoll, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        fail("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        int on = 1;
        if (connection < 0)
            return;
        if (connection >= CONNECTIONS_MAX) {
            close(connection);
            continue;
        }
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        missing[connection] = 0;
        watch(epoll, connection);
    }
}

/* Whether the bytes just received complete a request. */
static int completes(int connection, const char *bytes, size_t count) {
    if (body_bytes == 0)
        return 1;
    if (missing[connection] == 0) {
        const char *end = memmem(bytes, count, "\r\n\r\n", 4);
        if (end == NULL)
            return 0;
        missing[connection] = body_bytes + (size_t)(end + 4 - bytes);
    }
    missing[connection] -= count < missing[connection] ? count : missing[connection];
    return missing[connection] == 0;
}

static void serve(int connection) {
    static char bytes[RECEIVE_MAX];
    ssize_t count = recv(connection, bytes, sizeof bytes, 0);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        close(connection);
        return;
    }
    if (completes(connection, bytes, (size_t)count) && send(connection, answer, answer_bytes, MSG_NOSIGNAL) < 0)
        close(connection);
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: floor PORT BODY_BYTES ANSWER_FILE\n");
        return 2;
    }
    body_bytes = strtoul(arguments[2], NULL, 10);
    read_answer(arguments[3]);
    int listener = listen_on(atoi(arguments[1]));
    int epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd == listener)
                accept_all(epoll, listener);
            else
                serve(events[at].data.fd);
        }
    }
}
