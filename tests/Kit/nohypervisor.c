/*
 * Preloaded into a real xenstored, so that it runs where there is no hypervisor: the few functions of libxenctrl, libxenevtchn and
 * libxengnttab that it calls at its start, and the two files of /proc/xen that describe dom0's ring. Clients come through the socket.
 * Every domain that is asked for is said to live; no event ever comes; no grant can be mapped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

static char handle;

/* Whoever started xenstored holds the other end of its standard input: it ends with them, however they end. */
static void *end_with_parent(void *unused)
{
    char byte;
    (void)unused;
    while (read(0, &byte, 1) > 0) continue;
    _exit(0);
}

__attribute__((constructor)) static void watch_parent(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_with_parent, NULL) == 0) pthread_detach(thread);
}

/* What Linux shows as /proc/xen/NAME: the event channel's port in decimal, or the page of the ring. */
static int file_of(const char *content, size_t length)
{
    int fd = memfd_create("xenstored", 0);
    if (fd >= 0 && ftruncate(fd, 4096) == 0 && pwrite(fd, content, length, 0) == (ssize_t)length) return fd;
    return -1;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    mode_t mode = 0;

    if (strcmp(path, "/proc/xen/xsd_port") == 0) return file_of("1", 1);
    if (strcmp(path, "/proc/xen/xsd_kva") == 0) return file_of("", 0);
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (real == NULL) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

xc_interface *xc_interface_open(xentoollog_logger *log, xentoollog_logger *build_log, unsigned flags)
{
    (void)log, (void)build_log, (void)flags;
    return (xc_interface *)&handle;
}

int xc_interface_close(xc_interface *xch) { (void)xch; return 0; }

/* Until Xen 4.17. */
int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned count, xc_dominfo_t *info)
{
    (void)xch;
    if (count == 0) return 0;
    memset(info, 0, sizeof *info);
    info->domid = first;
    info->running = 1;
    return 1;
}

/* From Xen 4.18. */
int xc_domain_getinfo_single(xc_interface *xch, uint32_t domid, xc_domaininfo_t *info)
{
    (void)xch;
    memset(info, 0, sizeof *info);
    info->domain = domid;
    info->flags = XEN_DOMINF_running;
    return 0;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *log, unsigned flags) { (void)log, (void)flags; return (xenevtchn_handle *)&handle; }
xenevtchn_handle *xenevtchn_fdopen(xentoollog_logger *log, int fd, unsigned flags) { (void)fd; return xenevtchn_open(log, flags); }
int xenevtchn_close(xenevtchn_handle *xce) { (void)xce; return 0; }

int xenevtchn_fd(xenevtchn_handle *xce)
{
    static int never = -1;
    (void)xce;
    if (never < 0) never = eventfd(0, EFD_CLOEXEC);
    return never;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
    (void)xce, (void)domid;
    return remote;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq) { (void)xce; return 1000 + virq; }
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce) { (void)xce; errno = EAGAIN; return -1; }
int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port) { (void)xce, (void)port; return 0; }
int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port) { (void)xce, (void)port; return 0; }
int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port) { (void)xce, (void)port; return 0; }

xengnttab_handle *xengnttab_open(xentoollog_logger *log, unsigned flags) { (void)log, (void)flags; return (xengnttab_handle *)&handle; }
int xengnttab_close(xengnttab_handle *xgt) { (void)xgt; return 0; }
int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t count) { (void)xgt, (void)count; return 0; }
int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count) { (void)xgt, (void)start, (void)count; return 0; }

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
    (void)xgt, (void)domid, (void)ref, (void)prot;
    errno = ENOSYS;
    return NULL;
}
