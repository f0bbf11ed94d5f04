/*
 * Runs ring.h's own macros on one shared ring. Reads "operation argument" lines; after each prints the operation's
 * result and the whole state, for the test to compare with the generated rings after the same operations.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define xen_mb() __sync_synchronize()
#define xen_wmb() __sync_synchronize()
#define xen_rmb() __sync_synchronize()
#include <xen/io/blkif.h>

static char shared[16 * 4096] __attribute__((aligned(4096)));
static blkif_front_ring_t front;
static blkif_back_ring_t back;

static unsigned int apply(const char *operation, unsigned int argument)
{
    blkif_sring_t *sring = (blkif_sring_t *)shared;
    unsigned int result = 0;

    if (!strcmp(operation, "put-requests"))
        front.req_prod_pvt += argument;
    else if (!strcmp(operation, "push-requests"))
        RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front, result);
    else if (!strcmp(operation, "take-requests"))
        back.req_cons += argument;
    else if (!strcmp(operation, "put-responses"))
        back.rsp_prod_pvt += argument;
    else if (!strcmp(operation, "push-responses"))
        RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&back, result);
    else if (!strcmp(operation, "take-responses"))
        front.rsp_cons += argument;
    else if (!strcmp(operation, "final-requests")) {
        RING_FINAL_CHECK_FOR_REQUESTS(&back, result);
        result = !!result;
    } else if (!strcmp(operation, "final-responses")) {
        RING_FINAL_CHECK_FOR_RESPONSES(&front, result);
        result = !!result;
    } else if (!strcmp(operation, "unconsumed-requests"))
        result = RING_HAS_UNCONSUMED_REQUESTS(&back);
    else if (!strcmp(operation, "unconsumed-responses"))
        result = RING_HAS_UNCONSUMED_RESPONSES(&front);
    else if (!strcmp(operation, "free-requests"))
        result = RING_FREE_REQUESTS(&front);
    else if (!strcmp(operation, "full"))
        result = RING_FULL(&front);
    else if (!strcmp(operation, "request-prod-overflow"))
        result = RING_REQUEST_PROD_OVERFLOW(&back, argument);
    else if (!strcmp(operation, "request-cons-overflow"))
        result = RING_REQUEST_CONS_OVERFLOW(&back, argument);
    else if (!strcmp(operation, "response-prod-overflow"))
        result = RING_RESPONSE_PROD_OVERFLOW(&front, argument);
    else if (!strcmp(operation, "request-offset"))
        result = (unsigned int)((char *)RING_GET_REQUEST(&back, argument) - shared);
    else if (!strcmp(operation, "response-offset"))
        result = (unsigned int)((char *)RING_GET_RESPONSE(&front, argument) - shared);
    /* The other side may write anything: */
    else if (!strcmp(operation, "set-req-prod"))
        sring->req_prod = argument;
    else if (!strcmp(operation, "set-rsp-prod"))
        sring->rsp_prod = argument;
    else if (!strcmp(operation, "set-req-event"))
        sring->req_event = argument;
    else if (!strcmp(operation, "set-rsp-event"))
        sring->rsp_event = argument;
    else {
        fprintf(stderr, "unknown operation %s\n", operation);
        exit(2);
    }
    return result;
}

int main(void)
{
    blkif_sring_t *sring = (blkif_sring_t *)shared;
    char operation[32];
    unsigned int pages, index, argument;

    if (scanf("%u %u", &pages, &index) != 2)
        return 2;
    memset(shared, 0xa5, sizeof(shared));
    SHARED_RING_INIT(sring);
    FRONT_RING_ATTACH(&front, sring, index, pages * 4096L);
    BACK_RING_ATTACH(&back, sring, index, pages * 4096L);
    while (scanf("%31s %u", operation, &argument) == 2) {
        unsigned int result = apply(operation, argument);
        printf("%s %u = %u: %u %u %u %u, front %u %u, back %u %u, %u\n", operation, argument, result,
               sring->req_prod, sring->req_event, sring->rsp_prod, sring->rsp_event,
               front.req_prod_pvt, front.rsp_cons, back.req_cons, back.rsp_prod_pvt, back.nr_ents);
    }
    return 0;
}
