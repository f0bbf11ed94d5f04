/*
 * libxenevtchn and libxengnttab without Xen: both libraries over the memory and the eventfds of one loopback domain in this process.
 * Grants are checked page by page, a taken event masks its port until it is unmasked, a fresh port has an event pending, and a copy
 * that fails as a whole leaves GNTST_okay behind, all as under Linux. Any call can be made to fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define PAGE 4096u
#define PORTS 8
#define LOCAL_PORT(remote) ((remote) + 40)

/* The numbers are those of FakeXen.cs. */
enum fail { FAIL_EVTCHN_OPEN, FAIL_GNTTAB_OPEN, FAIL_MAX_GRANTS, FAIL_COPY, FAIL_NOTIFY, FAIL_MAP, FAIL_UNMAP, FAILS };
enum count { MAPPED, BOUND, HANDLES, COPIES, NOTIFIES, PENDINGS, EMPTY_PENDINGS, UNMASKS, COUNTS };

static int fails[FAILS];
static int counts[COUNTS];
static struct {
    uint16_t domain;
    int memory;
    uint64_t first_frame;
    volatile uint64_t *table;
    uint32_t grants, frames;
    uint8_t *frame;
    int to_backend[PORTS], to_guest[PORTS], bound[PORTS];
} guest;

static void add(enum count which, int by) { __atomic_add_fetch(&counts[which], by, __ATOMIC_SEQ_CST); }

/* True when the call is to fail; errno is then set. */
static int failing(enum fail which)
{
    int error = __atomic_load_n(&fails[which], __ATOMIC_SEQ_CST);
    if (error) errno = error;
    return error != 0;
}

void fake_fail(int which, int error) { __atomic_store_n(&fails[which], error, __ATOMIC_SEQ_CST); }
int fake_count(int which) { return __atomic_load_n(&counts[which], __ATOMIC_SEQ_CST); }

void fake_guest(uint16_t domain, int memory, uint64_t first_frame, void *table, uint32_t grants, void *frame, uint32_t frames)
{
    memset(&guest, 0, sizeof guest);
    guest.domain = domain; guest.memory = memory; guest.first_frame = first_frame;
    guest.table = table; guest.grants = grants; guest.frame = frame; guest.frames = frames;
}

void fake_port(uint32_t port, int to_backend, int to_guest)
{
    guest.to_backend[port] = to_backend;
    guest.to_guest[port] = to_guest;
}

/* ---------------------------------------------------------------- event channels */

struct xenevtchn_handle { int epoll; uint32_t remote; };

static int watch(xenevtchn_handle *xce, int how)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
    return epoll_ctl(xce->epoll, how, guest.to_backend[xce->remote], &event);
}

static int bound(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (xce->remote && port == LOCAL_PORT(xce->remote)) return 1;
    errno = ENOTCONN;
    return 0;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    xenevtchn_handle *xce;
    /* Without a logger the real library writes to standard error. */
    if (!logger || flags) { errno = EINVAL; return NULL; }
    if (failing(FAIL_EVTCHN_OPEN)) return NULL;
    xce = calloc(1, sizeof *xce);
    xce->epoll = epoll_create1(EPOLL_CLOEXEC);
    add(HANDLES, 1);
    return xce;
}

int xenevtchn_fd(xenevtchn_handle *xce) { return xce->epoll; }

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
    uint64_t one = 1;
    if (domid != guest.domain) { errno = ESRCH; return -1; }
    if (!remote || remote >= PORTS || !guest.to_backend[remote] || guest.bound[remote] || xce->remote) { errno = EINVAL; return -1; }
    xce->remote = remote;
    guest.bound[remote] = 1;
    add(BOUND, 1);
    if (watch(xce, EPOLL_CTL_ADD) || write(guest.to_backend[remote], &one, sizeof one) != sizeof one) return -1;
    return (int)LOCAL_PORT(remote);
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (!bound(xce, port)) return -1;
    watch(xce, EPOLL_CTL_DEL);
    guest.bound[xce->remote] = 0;
    xce->remote = 0;
    add(BOUND, -1);
    return 0;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    uint64_t one = 1;
    add(NOTIFIES, 1);
    if (failing(FAIL_NOTIFY) || !bound(xce, port)) return -1;
    return write(guest.to_guest[xce->remote], &one, sizeof one) == sizeof one ? 0 : -1;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    struct epoll_event event;
    uint64_t signals;
    int wait = fcntl(xce->epoll, F_GETFL) & O_NONBLOCK ? 0 : -1;
    add(PENDINGS, 1);
    if (epoll_wait(xce->epoll, &event, 1, wait) != 1 || read(guest.to_backend[xce->remote], &signals, sizeof signals) < 0) {
        add(EMPTY_PENDINGS, 1);
        errno = EAGAIN;
        return -1;
    }
    return (int)LOCAL_PORT(xce->remote);
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    add(UNMASKS, 1);
    return bound(xce, port) ? watch(xce, EPOLL_CTL_MOD) : -1;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
    if (xce->remote) xenevtchn_unbind(xce, LOCAL_PORT(xce->remote));
    close(xce->epoll);
    free(xce);
    add(HANDLES, -1);
    return 0;
}

/* ---------------------------------------------------------------- grants */

/* What could not be unmapped stays mapped until the handle is closed, as in the kernel. */
struct xengntdev_handle { int stuck; };

/* The page behind a reference, or GNTST_*. */
static int64_t resolve(uint32_t domid, uint32_t ref, int writing)
{
    grant_entry_v1_t entry;
    uint64_t word;
    if (domid != guest.domain) return GNTST_bad_domain;
    if (ref >= guest.grants) return GNTST_bad_gntref;
    word = guest.table[ref];
    memcpy(&entry, &word, sizeof entry);
    if ((entry.flags & GTF_type_mask) != GTF_permit_access || entry.domid != 0) return GNTST_general_error;
    if (writing && (entry.flags & GTF_readonly)) return GNTST_general_error;
    return entry.frame < guest.frames ? (int64_t)entry.frame : GNTST_bad_page;
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    xengnttab_handle *xgt;
    if (!logger || open_flags) { errno = EINVAL; return NULL; }
    if (failing(FAIL_GNTTAB_OPEN)) return NULL;
    xgt = calloc(1, sizeof *xgt);
    add(HANDLES, 1);
    return xgt;
}

int xengnttab_close(xengnttab_handle *xgt)
{
    add(MAPPED, -xgt->stuck);
    free(xgt);
    add(HANDLES, -1);
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t count) { (void)xgt; (void)count; return failing(FAIL_MAX_GRANTS) ? -1 : 0; }

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid, uint32_t *refs, int prot)
{
    uint8_t *place;
    (void)xgt;
    if (failing(FAIL_MAP)) return NULL;
    place = mmap(NULL, (size_t)count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (uint32_t i = 0; i < count; i++) {
        int64_t frame = resolve(domid, refs[i], prot & PROT_WRITE);
        if (frame < 0) {
            munmap(place, (size_t)count * PAGE);
            errno = EINVAL;
            return NULL;
        }
        mmap(place + (size_t)i * PAGE, PAGE, prot, MAP_SHARED | MAP_FIXED, guest.memory, (off_t)(guest.first_frame + (uint64_t)frame * PAGE));
    }
    add(MAPPED, (int)count);
    return place;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
    if (failing(FAIL_UNMAP)) {
        __atomic_add_fetch(&xgt->stuck, (int)count, __ATOMIC_SEQ_CST);
        return -1;
    }
    add(MAPPED, -(int)count);
    return munmap(start_address, (size_t)count * PAGE);
}

static int16_t copy_one(xengnttab_grant_copy_segment_t *segment)
{
    int to_guest = segment->flags == GNTCOPY_dest_gref;
    uint32_t ref = to_guest ? segment->dest.foreign.ref : segment->source.foreign.ref;
    uint16_t domid = to_guest ? segment->dest.foreign.domid : segment->source.foreign.domid;
    uint16_t offset = to_guest ? segment->dest.foreign.offset : segment->source.foreign.offset;
    int64_t frame = resolve(domid, ref, to_guest);
    if (frame < 0) return (int16_t)frame;
    if (to_guest) memcpy(guest.frame + (size_t)frame * PAGE + offset, segment->source.virt, segment->len);
    else memcpy(segment->dest.virt, guest.frame + (size_t)frame * PAGE + offset, segment->len);
    return GNTST_okay;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count, xengnttab_grant_copy_segment_t *segs)
{
    (void)xgt;
    if (count) add(COPIES, 1);
    for (uint32_t i = 0; i < count; i++) segs[i].status = GNTST_okay;
    if (failing(FAIL_COPY)) return -1;
    for (uint32_t i = 0; i < count; i++) segs[i].status = copy_one(&segs[i]);
    return 0;
}
