using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop.Tests;

/// <summary>
/// What the ring tests share: a ring that is there or fails the test with the kernel's reason, and one request at a
/// time.
/// </summary>
static unsafe class Rings
{
    public static IoUring Create(IoUringOptions? options = null)
    {
        Assert.True(IoUring.TryCreate(options ?? new(), out var ring, out var refusal), refusal);
        Assert.Empty(refusal);
        return ring;
    }

    /// <summary>Enabled on the calling thread, which must dispose it.</summary>
    public static IoUring CreateEnabled(IoUringOptions? options = null)
    {
        var ring = Create(options);
        ring.Enable();
        return ring;
    }

    public static io_uring_sqe* Prepare(
        this IoUring ring,
        byte opcode,
        int fd,
        void* address,
        uint lengthBytes,
        ulong offset,
        ulong userData = 0
    )
    {
        var sqe = ring.TryGetSqe();
        Assert.True(sqe != null, "the submission queue is full");
        (sqe->opcode, sqe->fd, sqe->addr, sqe->len, sqe->off, sqe->user_data) = (
            opcode,
            fd,
            (ulong)address,
            lengthBytes,
            offset,
            userData
        );
        return sqe;
    }

    public static void PrepareNop(this IoUring ring, ulong userData) =>
        ring.Prepare(IORING_OP_NOP, -1, null, 0, 0, userData);

    /// <summary>Submits what is pending and returns the result of the one request.</summary>
    public static int Complete(this IoUring ring)
    {
        Assert.Equal(1, ring.SubmitAndWait(1));
        return Assert.Single(ring.TakeAll()).Result;
    }

    /// <summary>Reads, writes and the rest, one request from start to end.</summary>
    public static int Run(
        this IoUring ring,
        byte opcode,
        int fd,
        void* address,
        uint lengthBytes,
        ulong offset,
        byte flags = 0,
        ushort buffer = 0
    )
    {
        var sqe = ring.Prepare(opcode, fd, address, lengthBytes, offset);
        (sqe->flags, sqe->buf_index) = (flags, buffer);
        return ring.Complete();
    }

    public static List<(ulong UserData, int Result)> TakeAll(this IoUring ring)
    {
        List<(ulong, int)> taken = [];
        var tail = ring.LoadCompletionTail();
        var head = ring.CompletionHead;
        for (; head != tail; head++)
            taken.Add((ring.CompletionAt(head)->user_data, ring.CompletionAt(head)->res));
        ring.ReleaseCompletions(head);
        return taken;
    }
}
