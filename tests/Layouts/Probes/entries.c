/* Writes each kind of message into an entry filled with 0xa5, member by member, and prints the entry's bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xen/io/blkif.h>

static union blkif_sring_entry entry;

static void begin(void)
{
    memset(&entry, 0xa5, sizeof(entry));
}

static void end(const char *name)
{
    printf("%s|", name);
    for (size_t i = 0; i < sizeof(entry); i++)
        printf("%02x", ((volatile unsigned char *)&entry)[i]);
    printf("\n");
}

static void direct(int operation, int nr_segments, const char *name)
{
    volatile struct blkif_request *req = &entry.req;

    begin();
    req->operation = operation;
    req->nr_segments = nr_segments;
    req->handle = 0xca10;
    req->id = 0x1122334455667788;
    req->sector_number = 0x99aabbccddeeff00;
    for (int i = 0; i < nr_segments && i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
        req->seg[i].gref = 0xf0000000 + i;
        req->seg[i].first_sect = i;
        req->seg[i].last_sect = 7 - i % 8;
    }
    end(name);
}

static void discard(void)
{
    volatile struct blkif_request_discard *req = (void *)&entry.req;

    begin();
    req->operation = BLKIF_OP_DISCARD;
    req->flag = BLKIF_DISCARD_SECURE;
    req->handle = 0xca10;
    req->id = 0x1122334455667788;
    req->sector_number = 0x99aabbccddeeff00;
    req->nr_sectors = 0x0123456789abcdef;
    end("discard");
}

static void indirect(void)
{
    volatile struct blkif_request_indirect *req = (void *)&entry.req;

    begin();
    req->operation = BLKIF_OP_INDIRECT;
    req->indirect_op = BLKIF_OP_WRITE;
    req->nr_segments = 4096;
    req->id = 0x1122334455667788;
    req->sector_number = 0x99aabbccddeeff00;
    req->handle = 0xca10;
    for (int i = 0; i < BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST; i++)
        req->indirect_grefs[i] = 0xe0000000 + i;
    end("indirect");
}

static void response(void)
{
    volatile struct blkif_response *rsp = &entry.rsp;

    begin();
    rsp->id = 0x1122334455667788;
    rsp->operation = BLKIF_OP_WRITE;
    rsp->status = BLKIF_RSP_EOPNOTSUPP;
    end("response");
}

int main(void)
{
    direct(BLKIF_OP_READ, 1, "read");
    direct(BLKIF_OP_WRITE, BLKIF_MAX_SEGMENTS_PER_REQUEST, "write");
    direct(BLKIF_OP_WRITE_BARRIER, 4, "barrier");
    direct(BLKIF_OP_FLUSH_DISKCACHE, 0, "flush");
    direct(BLKIF_OP_WRITE, 255, "too-many");
    discard();
    indirect();
    response();
    return 0;
}
