/*
 * The time from exec of a daemon until it has published a device that was there before it (state 2, XenbusStateInitWait), and the CPU
 * time and the resident memory that it has taken by then. bench/startup runs this with a xenstored.
 *
 * usage: startup IMAGE STARTS DAEMON [ARGUMENT]...
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <xenstore.h>

#define BACKEND "/local/domain/0/backend/vbd3/7/51712"
#define FRONTEND "/local/domain/7/device/vbd/51712"
#define MAX_STARTS 1000
#define PATIENCE_MS 10000

extern char **environ;
static struct xs_handle *store;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void put(const char *area, const char *key, const char *value)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", area, key);
    if (!xs_write(store, XBT_NULL, path, value, strlen(value))) fail(path);
}

/* As a toolstack leaves it, with the backend's state last. */
static void attach(const char *image)
{
    xs_rm(store, XBT_NULL, BACKEND);
    xs_rm(store, XBT_NULL, FRONTEND);
    put(FRONTEND, "backend", BACKEND);
    put(FRONTEND, "backend-id", "0");
    put(FRONTEND, "virtual-device", "51712");
    put(FRONTEND, "state", "1");
    put(BACKEND, "frontend", FRONTEND);
    put(BACKEND, "frontend-id", "7");
    put(BACKEND, "params", image);
    put(BACKEND, "mode", "w");
    put(BACKEND, "device-type", "disk");
    put(BACKEND, "online", "1");
    put(BACKEND, "state", "1");
}

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int is_published(void)
{
    unsigned length;
    char *state = xs_read(store, XBT_NULL, BACKEND "/state", &length);
    int published = state != NULL && strcmp(state, "2") == 0;
    free(state);
    return published;
}

static void wait_until_published(void)
{
    double end = now_ms() + PATIENCE_MS;
    while (!is_published()) {
        struct pollfd event = { .fd = xs_fileno(store), .events = POLLIN };
        unsigned count;
        if (now_ms() > end || poll(&event, 1, PATIENCE_MS) <= 0) { fprintf(stderr, "startup: the daemon does not publish the device\n"); exit(1); }
        free(xs_read_watch(store, &count));
    }
}

static double resident_mib(pid_t process)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", process);
    FILE *status = fopen(path, "r");
    while (status != NULL && fgets(line, sizeof line, status)) if (sscanf(line, "VmRSS: %lf", &kib) == 1) break;
    if (status != NULL) fclose(status);
    return kib / 1024;
}

/* The CPU time of all its threads: what other programs take is not in it. */
static double cpu_ms(pid_t process)
{
    char path[64];
    double sum = 0;
    glob_t threads;
    snprintf(path, sizeof path, "/proc/%d/task/*/schedstat", process);
    if (glob(path, 0, NULL, &threads) != 0) return 0;
    for (size_t i = 0; i < threads.gl_pathc; i++) {
        double ns = 0;
        FILE *thread = fopen(threads.gl_pathv[i], "r");
        if (thread == NULL) continue;
        if (fscanf(thread, "%lf", &ns) == 1) sum += ns / 1e6;
        fclose(thread);
    }
    globfree(&threads);
    return sum;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments)
{
    static double times[MAX_STARTS], cpu[MAX_STARTS], memory[MAX_STARTS];
    posix_spawn_file_actions_t files;
    int starts = count > 3 ? atoi(arguments[2]) : 0;

    if (starts < 1 || starts > MAX_STARTS) { fprintf(stderr, "usage: startup IMAGE STARTS DAEMON [ARGUMENT]...\n"); return 2; }
    store = xs_open(0);
    if (store == NULL) fail("xenstored");
    put("/local/domain/7", "name", "guest");
    if (!xs_watch(store, BACKEND "/state", "state")) fail("watch");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < starts; i++) {
        pid_t process;
        attach(arguments[1]);
        double start = now_ms();
        if (posix_spawn(&process, arguments[3], &files, NULL, arguments + 3, environ) != 0) fail(arguments[3]);
        wait_until_published();
        times[i] = now_ms() - start;
        cpu[i] = cpu_ms(process);
        memory[i] = resident_mib(process);
        kill(process, SIGTERM);
        waitpid(process, NULL, 0);
    }
    qsort(times, starts, sizeof *times, compare);
    qsort(cpu, starts, sizeof *cpu, compare);
    qsort(memory, starts, sizeof *memory, compare);
    printf("exec to InitWait: %.1f ms (%.1f to %.1f), %.1f ms of CPU (%.1f to %.1f), %.1f MiB resident, %d starts\n", times[starts / 2],
        times[0], times[starts - 1], cpu[starts / 2], cpu[0], cpu[starts - 1], memory[starts / 2], starts);
    return 0;
}
