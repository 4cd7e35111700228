//! A load that wrk cannot make: at a fixed rate, of several paths, counted by answer, or in bursts.
//!
//! One thread, keep-alive connections that are all open before the first request (with --eager each sends its first as
//! soon as it is open). In a closed loop (no --rate) each connection sends its next request when it has its answer; with
//! --rate requests are due at fixed instants, and a
//! latency is counted from the instant at which the request was due, so that a server that stalls does not hide it by
//! slowing the load down. Answers must carry Content-Length. The figures go to standard output as JSON.
//!
//! Usage: load PORT [--connections N] [--rate R] [--seconds S] [--requests N] [--eager] [--bodies] [--burst TIMES]
//! [PATH[:WEIGHT] ...]
//! --bodies counts the answers by body (up to 64 different ones). --burst sends one request on every connection at once,
//! TIMES over, after one unmeasured round, and prints how long each round took to be answered.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATHS_MAX = 8, BODIES_MAX = 64, BODY_SHOWN = 32, ANSWER_MAX = 16384, EVENTS_MAX = 512 };
#define SECOND 1000000000LL
/* Below this much waiting the loop spins: a sleep may last a tick longer than asked. */
#define SPIN 2000000LL
/* How long answers may still come after the last request. */
#define LINGER (5 * SECOND)

struct path {
    const char *name;
    int weight;
    char request[512];
    int request_bytes;
    long long *latencies;
    size_t count, capacity;
};

struct connection {
    int descriptor;
    int path;
    long long due;
    size_t received;
    char answer[ANSWER_MAX];
};

struct body {
    char text[BODY_SHOWN + 1];
    long count;
};

static struct path paths[PATHS_MAX];
static int path_count, weight_sum;
static struct connection *connections;
static int connection_count = 64;
static struct body bodies[BODIES_MAX];
static int body_count, counting_bodies;
static long errors, sent, answered;
static int *idle; /* a queue: the connection that has rested longest is next, so that all are used */
static int idle_head, idle_length;
static int epoll;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* A fixed sequence, so that two servers get the same requests. */
static unsigned next_random(void) {
    static unsigned state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int choose_path(void) {
    int draw = (int)(next_random() % (unsigned)weight_sum);
    for (int at = 0; at < path_count; at++) {
        draw -= paths[at].weight;
        if (draw < 0)
            return at;
    }
    return 0;
}

static void add_path(char *argument) {
    struct path *path = &paths[path_count];
    char *colon = strchr(argument, ':');
    if (path_count == PATHS_MAX) {
        fprintf(stderr, "load: more than %d paths\n", PATHS_MAX);
        exit(2);
    }
    if (colon != NULL)
        *colon = '\0';
    path->name = argument;
    path->weight = colon == NULL ? 1 : atoi(colon + 1);
    path->request_bytes =
        snprintf(path->request, sizeof path->request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argument);
    weight_sum += path->weight;
    path_count++;
}

static void send_on(int at, long long due) {
    struct connection *connection = &connections[at];
    connection->path = choose_path();
    connection->due = due;
    connection->received = 0;
    struct path *path = &paths[connection->path];
    if (send(connection->descriptor, path->request, (size_t)path->request_bytes, MSG_NOSIGNAL) != path->request_bytes)
        fail("send");
    sent++;
}

static int take_idle(void) {
    int at = idle[idle_head];
    idle_head = (idle_head + 1) % connection_count;
    idle_length--;
    return at;
}

static void connect_all(int port, int eager) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int at = 0; at < connection_count; at++) {
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        int on = 1;
        if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
            fail("connect");
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(descriptor, F_SETFL, O_NONBLOCK);
        connections[at].descriptor = descriptor;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)at};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
            fail("epoll_ctl");
        idle[at] = at;
        idle_length++;
        if (eager)
            send_on(take_idle(), now());
    }
}

static void count_body(const char *text, size_t bytes) {
    if (bytes > BODY_SHOWN)
        bytes = BODY_SHOWN;
    for (int at = 0; at < body_count; at++) {
        if (strlen(bodies[at].text) == bytes && memcmp(bodies[at].text, text, bytes) == 0) {
            bodies[at].count++;
            return;
        }
    }
    if (body_count == BODIES_MAX) {
        errors++;
        return;
    }
    memcpy(bodies[body_count].text, text, bytes);
    bodies[body_count++].count = 1;
}

static void record(struct path *path, long long latency) {
    if (path->count == path->capacity) {
        path->capacity = path->capacity == 0 ? 4096 : path->capacity * 2;
        path->latencies = realloc(path->latencies, path->capacity * sizeof *path->latencies);
        if (path->latencies == NULL)
            fail("memory");
    }
    path->latencies[path->count++] = latency;
}

/* Receives on a connection; 1 when its answer is complete. A connection that ends is an error that ends the load. */
static int receive_on(int at) {
    struct connection *connection = &connections[at];
    ssize_t count = recv(connection->descriptor, connection->answer + connection->received,
                         ANSWER_MAX - 1 - connection->received, 0);
    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count <= 0) {
        fprintf(stderr, "load: the server closed a connection, or its answer is too long\n");
        exit(1);
    }
    connection->received += (size_t)count;
    connection->answer[connection->received] = '\0';
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (end == NULL)
        return 0;
    char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (length == NULL || length > end) {
        fprintf(stderr, "load: an answer without Content-Length\n");
        exit(1);
    }
    size_t body_bytes = strtoul(length + 17, NULL, 10);
    char *body = end + 4;
    if (connection->received < (size_t)(body - connection->answer) + body_bytes)
        return 0;
    if (strncmp(connection->answer, "HTTP/1.1 200 ", 13) != 0)
        errors++;
    if (counting_bodies)
        count_body(body, body_bytes);
    answered++;
    return 1;
}

/* Waits at most until the instant, and takes what has come. Answers of connections go to `done`. */
static void step(long long until, void (*done)(int at, long long time)) {
    struct epoll_event events[EVENTS_MAX];
    long long wait = until - now();
    int timeout = wait <= SPIN ? 0 : (int)((wait - SPIN) / 1000000) + 1;
    int ready = epoll_wait(epoll, events, EVENTS_MAX, timeout);
    for (int at = 0; at < ready; at++) {
        int connection = (int)events[at].data.u32;
        if (receive_on(connection))
            done(connection, now());
    }
}

static void rest(int at) {
    idle[(idle_head + idle_length) % connection_count] = at;
    idle_length++;
}

static void finished(int at, long long time) {
    record(&paths[connections[at].path], time - connections[at].due);
    rest(at);
}

static void finished_unrecorded(int at, long long time) {
    (void)time;
    rest(at);
}

static void await_all(void) {
    long long limit = now() + LINGER;
    while (idle_length < connection_count && now() < limit)
        step(limit, finished);
    errors += connection_count - idle_length;
}

static double run_load(double rate, double seconds, long requests) {
    long long start = now(), end = start + (long long)(seconds * SECOND);
    while (now() < end && (requests == 0 || sent < requests)) {
        long long due = rate > 0 ? start + (long long)((double)sent / rate * SECOND) : now();
        while (idle_length > 0 && due <= now() && (requests == 0 || sent < requests)) {
            send_on(take_idle(), due);
            due = rate > 0 ? start + (long long)((double)sent / rate * SECOND) : now();
        }
        step(due < end && idle_length > 0 ? due : end, finished);
    }
    double passed = (double)(now() - start) / SECOND;
    await_all();
    return passed;
}

static void run_bursts(int times) {
    printf("{\"bursts_ms\": [");
    for (int round = 0; round <= times; round++) {
        long long start = now(), limit = start + LINGER;
        while (idle_length > 0)
            send_on(take_idle(), start);
        while (idle_length < connection_count && now() < limit)
            step(limit, finished_unrecorded);
        if (idle_length < connection_count) {
            fprintf(stderr, "load: a burst was not answered\n");
            exit(1);
        }
        if (round > 0)
            printf("%s%.3f", round > 1 ? ", " : "", (double)(now() - start) / 1e6);
    }
    printf("], \"errors\": %ld}\n", errors);
}

static int ascending(const void *left, const void *right) {
    long long a = *(const long long *)left, b = *(const long long *)right;
    return (a > b) - (a < b);
}

static double microseconds(const struct path *path, double share) {
    return path->count == 0 ? 0 : (double)path->latencies[(size_t)((double)(path->count - 1) * share)] / 1e3;
}

static void print_figures(double seconds) {
    printf("{\"requests\": %ld, \"seconds\": %f, \"errors\": %ld, \"paths\": {", answered, seconds, errors);
    for (int at = 0; at < path_count; at++) {
        struct path *path = &paths[at];
        qsort(path->latencies, path->count, sizeof *path->latencies, ascending);
        printf("%s\"%s\": {\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}", at > 0 ? ", " : "",
               path->name, path->count, microseconds(path, 0.5), microseconds(path, 0.99), microseconds(path, 1));
    }
    printf("}, \"bodies\": {");
    for (int at = 0; at < body_count; at++)
        printf("%s\"%s\": %ld", at > 0 ? ", " : "", bodies[at].text, bodies[at].count);
    printf("}}\n");
}

int main(int count, char **arguments) {
    double rate = 0, seconds = 3600;
    long requests = 0;
    int bursts = 0, eager = 0;
    static char root[] = "/";
    struct rlimit limit;
    if (count < 2) {
        fprintf(stderr, "usage: load PORT [options] [PATH[:WEIGHT] ...]\n");
        return 2;
    }
    for (int at = 2; at < count; at++) {
        const char *value = at + 1 < count ? arguments[at + 1] : "";
        if (strcmp(arguments[at], "--connections") == 0)
            connection_count = atoi(value), at++;
        else if (strcmp(arguments[at], "--rate") == 0)
            rate = atof(value), at++;
        else if (strcmp(arguments[at], "--seconds") == 0)
            seconds = atof(value), at++;
        else if (strcmp(arguments[at], "--requests") == 0)
            requests = atol(value), at++;
        else if (strcmp(arguments[at], "--burst") == 0)
            bursts = atoi(value), at++;
        else if (strcmp(arguments[at], "--eager") == 0)
            eager = 1;
        else if (strcmp(arguments[at], "--bodies") == 0)
            counting_bodies = 1;
        else
            add_path(arguments[at]);
    }
    if (path_count == 0)
        add_path(root);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    connections = calloc((size_t)connection_count, sizeof *connections);
    idle = calloc((size_t)connection_count, sizeof *idle);
    epoll = epoll_create1(0);
    if (connections == NULL || idle == NULL || epoll < 0)
        fail("memory");
    connect_all(atoi(arguments[1]), eager);
    if (bursts > 0)
        run_bursts(bursts);
    else
        print_figures(run_load(rate, seconds, requests));
    return 0;
}
