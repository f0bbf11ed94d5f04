/*
 * The baseline for the ring alone: how fast a shared ring between two CPUs is in C with the macros of Xen's ring.h,
 * without event channel, grants and disk. A frontend thread keeps the ring full of READs of one segment and checks each
 * response; a backend thread copies, validates and answers. Both poll. For each push, the notification of the other
 * side is computed and counted, as under Xen, but not sent.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/*
 * The barriers that ring.h needs. x86 keeps the order of stores and the order of loads: only a store followed by a load
 * needs an instruction, and a locked addition of 0 just below the stack is cheaper than mfence.
 */
#if defined(__x86_64__) || defined(__i386__)
#define compiler_barrier() __asm__ __volatile__("" ::: "memory")
#define xen_rmb() compiler_barrier()
#define xen_wmb() compiler_barrier()
#define xen_mb() __asm__ __volatile__("lock; addl $0, -4(%%rsp)" ::: "memory", "cc")
#define cpu_relax() __builtin_ia32_pause()
#else
#error "only x86 has its barriers here"
#endif

/* The oldest interface version in which ring.h uses these names of the barriers. */
#define __XEN_INTERFACE_VERSION__ 0x00030208
#include <xen/xen.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>

#define RING_PAGE_BYTES 4096u
#define DISK_SECTORS (UINT64_C(1) << 31) /* 1 TiB of 512-byte sectors */
#define LAST_SECTOR_OF_PAGE 7
#define LARGEST_RING 512u /* entries of 16 pages */

struct options {
    unsigned pages;
    double seconds;
    int frontend_cpu;
    int backend_cpu;
    RING_IDX batch; /* the greatest number of requests per pass of the backend */
    bool json;
};

struct side {
    uint64_t handled; /* requests consumed, or responses checked */
    uint64_t passes;  /* number of pushes: handled / passes is the mean batch */
    uint64_t notifications;
    uint64_t errors;
};

/* Each thread writes only its own cache lines; aligned to 128 bytes, because CPUs fetch lines in pairs. */
struct bench {
    struct options options;
    blkif_sring_t *sring;
    pthread_barrier_t start;
    alignas(128) bool stop_frontend;
    alignas(128) bool stop_backend;
    alignas(128) struct side frontend;
    alignas(128) struct side backend;
    double elapsed_seconds;
};

static void die(const char *what, int error)
{
    fprintf(stderr, "ring: %s: %s\n", what, strerror(error));
    exit(1);
}

static bool pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

static double now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The checks that every backend must make: the frontend is not trusted. */
static int16_t validate(const blkif_request_t *request)
{
    uint64_t sectors = 0;

    if (request->operation != BLKIF_OP_READ && request->operation != BLKIF_OP_WRITE)
        return BLKIF_RSP_EOPNOTSUPP;
    if (request->nr_segments == 0 || request->nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return BLKIF_RSP_ERROR;
    for (unsigned i = 0; i < request->nr_segments; i++) {
        const struct blkif_request_segment *segment = &request->seg[i];

        if (segment->first_sect > segment->last_sect || segment->last_sect > LAST_SECTOR_OF_PAGE)
            return BLKIF_RSP_ERROR;
        sectors += segment->last_sect - segment->first_sect + 1u;
    }
    /* Subtraction, since sector_number + sectors may wrap. */
    if (sectors > DISK_SECTORS || request->sector_number > DISK_SECTORS - sectors)
        return BLKIF_RSP_ERROR;
    return BLKIF_RSP_OKAY;
}

/*
 * One pass: answers what the frontend has pushed, up to the batch, and pushes the responses at once. Returns false if
 * there was nothing. Without a batch limit, the two sides alternate, each working on a full ring while the other waits;
 * with one, they overlap.
 */
static bool backend_pass(blkif_back_ring_t *ring, struct side *side, RING_IDX batch)
{
    /* Volatile: the macro reads shared memory, and the compiler must not keep the value across iterations. */
    RING_IDX produced = *(volatile RING_IDX *)&ring->sring->req_prod;
    RING_IDX first = ring->req_cons;
    int notify;

    if (produced == first)
        return false;
    if (RING_REQUEST_PROD_OVERFLOW(ring, produced)) {
        side->errors++;
        return false;
    }
    if (produced - first > batch)
        produced = first + batch;
    xen_rmb(); /* pairs with xen_wmb in the frontend's push: requests are read after the index that covers them */
    while (ring->req_cons != produced) {
        blkif_request_t request;
        blkif_response_t *response;

        RING_COPY_REQUEST(ring, ring->req_cons, &request);
        ring->req_cons++;
        response = RING_GET_RESPONSE(ring, ring->rsp_prod_pvt);
        response->id = request.id;
        response->operation = request.operation;
        response->status = validate(&request);
        ring->rsp_prod_pvt++;
    }
    RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(ring, notify);
    side->handled += ring->req_cons - first;
    side->passes++;
    side->notifications += notify != 0;
    return true;
}

static void *backend_main(void *argument)
{
    struct bench *bench = argument;
    blkif_back_ring_t ring;
    struct side side = { 0 };

    if (!pin(bench->options.backend_cpu))
        die("cannot pin the backend", EINVAL);
    BACK_RING_INIT(&ring, bench->sring, bench->options.pages * RING_PAGE_BYTES);
    pthread_barrier_wait(&bench->start);
    while (!__atomic_load_n(&bench->stop_backend, __ATOMIC_RELAXED)) {
        if (!backend_pass(&ring, &side, bench->options.batch))
            cpu_relax();
    }
    bench->backend = side;
    return NULL;
}

/* A stack of free ids, as many as a real frontend has shadow requests. */
struct shadow {
    unsigned free_count;
    uint16_t free_ids[LARGEST_RING];
    uint8_t outstanding[LARGEST_RING];
};

/* Returns the number of responses. Each must answer an outstanding id, once, with BLKIF_RSP_OKAY. */
static RING_IDX take_responses(blkif_front_ring_t *ring, struct shadow *shadow, struct side *side)
{
    RING_IDX produced = *(volatile RING_IDX *)&ring->sring->rsp_prod;
    RING_IDX first = ring->rsp_cons;

    if (produced == first)
        return 0;
    if (RING_RESPONSE_PROD_OVERFLOW(ring, produced)) {
        side->errors++;
        return 0;
    }
    xen_rmb(); /* pairs with xen_wmb in the backend's push */
    for (; ring->rsp_cons != produced; ring->rsp_cons++) {
        blkif_response_t response;

        RING_COPY_RESPONSE(ring, ring->rsp_cons, &response);
        if (response.id >= RING_SIZE(ring) || !shadow->outstanding[response.id] || response.status != BLKIF_RSP_OKAY
            || response.operation != BLKIF_OP_READ) {
            side->errors++;
            continue;
        }
        shadow->outstanding[response.id] = 0;
        shadow->free_ids[shadow->free_count++] = (uint16_t)response.id;
    }
    side->handled += produced - first;
    return produced - first;
}

/* Fills the ring with requests and returns their number. */
static RING_IDX fill_requests(blkif_front_ring_t *ring, struct shadow *shadow, struct side *side, uint64_t *sector)
{
    RING_IDX count = 0;
    int notify;

    for (; !RING_FULL(ring) && shadow->free_count > 0; count++) {
        blkif_request_t *request = RING_GET_REQUEST(ring, ring->req_prod_pvt);
        uint16_t id = shadow->free_ids[--shadow->free_count];

        request->operation = BLKIF_OP_READ;
        request->nr_segments = 1;
        request->handle = 51712; /* xvda */
        request->id = id;
        request->sector_number = *sector;
        request->seg[0].gref = 8u + id;
        request->seg[0].first_sect = 0;
        request->seg[0].last_sect = LAST_SECTOR_OF_PAGE;
        shadow->outstanding[id] = 1;
        *sector = (*sector + 8) & (DISK_SECTORS - 1);
        ring->req_prod_pvt++;
    }
    if (count == 0)
        return 0;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(ring, notify);
    side->passes++;
    side->notifications += notify != 0;
    return count;
}

static void *frontend_main(void *argument)
{
    struct bench *bench = argument;
    blkif_front_ring_t ring;
    struct shadow shadow = { 0 };
    struct side side = { 0 };
    uint64_t sector = 0;
    double start;

    if (!pin(bench->options.frontend_cpu))
        die("cannot pin the frontend", EINVAL);
    FRONT_RING_INIT(&ring, bench->sring, bench->options.pages * RING_PAGE_BYTES);
    while (shadow.free_count < RING_SIZE(&ring)) {
        shadow.free_ids[shadow.free_count] = (uint16_t)shadow.free_count;
        shadow.free_count++;
    }
    pthread_barrier_wait(&bench->start);
    start = now_seconds();
    while (!__atomic_load_n(&bench->stop_frontend, __ATOMIC_RELAXED) && side.errors == 0) {
        if (fill_requests(&ring, &shadow, &side, &sector) + take_responses(&ring, &shadow, &side) == 0)
            cpu_relax();
    }
    bench->elapsed_seconds = now_seconds() - start;
    /* Every request must be answered. The wait is bounded, so that a backend that lost one is reported. */
    for (start = now_seconds(); ring.req_prod_pvt != ring.rsp_cons && side.errors == 0;) {
        take_responses(&ring, &shadow, &side);
        if (now_seconds() - start > 5.0)
            side.errors++;
    }
    bench->frontend = side;
    return NULL;
}

static void run(struct bench *bench)
{
    pthread_t frontend, backend;
    struct timespec duration = {
        .tv_sec = (time_t)bench->options.seconds,
        .tv_nsec = (long)((bench->options.seconds - (double)(time_t)bench->options.seconds) * 1e9),
    };
    int error;

    SHARED_RING_INIT(bench->sring);
    pthread_barrier_init(&bench->start, NULL, 3);
    if ((error = pthread_create(&backend, NULL, backend_main, bench))
        || (error = pthread_create(&frontend, NULL, frontend_main, bench)))
        die("pthread_create", error);
    pthread_barrier_wait(&bench->start);
    while (nanosleep(&duration, &duration) != 0 && errno == EINTR)
        ;
    __atomic_store_n(&bench->stop_frontend, true, __ATOMIC_RELAXED);
    pthread_join(frontend, NULL);
    __atomic_store_n(&bench->stop_backend, true, __ATOMIC_RELAXED);
    pthread_join(backend, NULL);
}

static void report(const struct bench *bench)
{
    const struct side *front = &bench->frontend, *back = &bench->backend;
    double per_second = (double)front->handled / bench->elapsed_seconds;
    double ns_per_request = front->handled ? 1e9 / per_second : 0.0;
    double mean_batch = back->passes ? (double)back->handled / (double)back->passes : 0.0;
    const char *format = bench->options.json
        ? "{\"benchmark\":\"ring\",\"language\":\"c\",\"abi\":\"native\",\"pages\":%u,\"entries\":%u,\"seconds\":%.3f,"
          "\"requests\":%" PRIu64 ",\"requests_per_second\":%.0f,\"ns_per_request\":%.2f,\"mean_batch\":%.2f,"
          "\"request_notifications\":%" PRIu64 ",\"response_notifications\":%" PRIu64 "}\n"
        : "pages %u  entries %u  seconds %.3f  requests %" PRIu64 "  requests/s %.0f  ns/request %.2f  "
          "mean batch %.2f  notifications %" PRIu64 " to the backend, %" PRIu64 " to the frontend\n";

    printf(format, bench->options.pages, (unsigned)__RING_SIZE(bench->sring, bench->options.pages * RING_PAGE_BYTES),
           bench->elapsed_seconds, front->handled, per_second, ns_per_request, mean_batch, front->notifications,
           back->notifications);
}

static void usage(void)
{
    fputs("usage: ring [--pages 1|2|4|8|16] [--seconds S] [--cpus FRONTEND,BACKEND] [--batch N] [--abi native] "
          "[--json]\n", stderr);
    exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        { "pages", required_argument, NULL, 'p' }, { "seconds", required_argument, NULL, 's' },
        { "cpus", required_argument, NULL, 'c' },  { "abi", required_argument, NULL, 'a' },
        { "batch", required_argument, NULL, 'b' }, { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    int name;

    *options = (struct options){
        .pages = 1, .seconds = 2.0, .frontend_cpu = 0, .backend_cpu = 1, .batch = LARGEST_RING
    };
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 'p': options->pages = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': options->seconds = strtod(optarg, NULL); break;
        case 'c':
            if (sscanf(optarg, "%d,%d", &options->frontend_cpu, &options->backend_cpu) != 2)
                usage();
            break;
        case 'a':
            /* The other ABIs need a copy field by field, which would be another baseline. */
            if (strcmp(optarg, "native") != 0)
                usage();
            break;
        case 'b': options->batch = (RING_IDX)strtoul(optarg, NULL, 10); break;
        case 'j': options->json = true; break;
        default: usage();
        }
    }
    if (optind != argc || options->pages == 0 || options->pages > 16 || (options->pages & (options->pages - 1)) != 0
        || !(options->seconds > 0.0 && options->seconds <= 3600.0)
        || options->frontend_cpu < 0 || options->frontend_cpu >= CPU_SETSIZE
        || options->backend_cpu < 0 || options->backend_cpu >= CPU_SETSIZE
        || options->frontend_cpu == options->backend_cpu || options->batch == 0)
        usage();
}

int main(int argc, char **argv)
{
    static struct bench bench;

    parse(argc, argv, &bench.options);
    bench.sring = mmap(NULL, bench.options.pages * RING_PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (bench.sring == MAP_FAILED)
        die("mmap", errno);
    run(&bench);
    if (bench.frontend.errors + bench.backend.errors != 0 || bench.frontend.handled != bench.backend.handled) {
        fprintf(stderr,
                "ring: the two sides disagree: %" PRIu64 " requests handled, %" PRIu64 " responses checked, "
                "%" PRIu64 " errors\n",
                bench.backend.handled, bench.frontend.handled, bench.frontend.errors + bench.backend.errors);
        return 1;
    }
    report(&bench);
    return 0;
}
