using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// One read, for the control plane, from a disk that may never answer. A thread that waits in pread(2) cannot be
/// killed, so its process, with all its other disks, could not end before the disk answers. A thread that waits for
/// io_uring can be killed.
/// </summary>
internal static unsafe class KillableRead
{
    private static readonly IoUringOptions s_forOneRequest = new()
    {
        SubmissionEntries = 1,
        CompletionEntries = 2,
        RegisteredFiles = 0,
        RegisteredBuffers = 0,
    };

    /// <summary>As pread(2): bytes, 0 at the end, or -errno. Where io_uring is refused, it is pread(2).</summary>
    /// <param name="buffer">Belongs to the kernel until this returns, however long the disk takes.</param>
    public static nint Read(FileDescriptor file, byte* buffer, int length, long offset)
    {
        if (!IoUring.TryCreate(s_forOneRequest, out IoUring? ring, out _))
            return Libc.Pread(file.Value, buffer, (nuint)length, offset);
        using (ring)
        {
            ring.Enable();
            // Safe: an empty ring has a free entry.
            io_uring_sqe* sqe = ring.TryGetSqe();
            sqe->opcode = IoUringAbi.IORING_OP_READ;
            sqe->fd = file.Value;
            sqe->addr = (ulong)buffer;
            sqe->len = (uint)length;
            sqe->off = (ulong)offset;
            while (ring.LoadCompletionTail() == ring.CompletionHead)
            {
                int taken = ring.SubmitAndWait(1);
                // The kernel refused before it took the entry, so the buffer is ours again.
                if (
                    taken < 0
                    && taken is not (-Errno.EINTR or -Errno.EAGAIN or -Errno.EBUSY)
                    && ring.PendingSubmissions > 0
                )
                    return taken;
            }
            return ring.CompletionAt(ring.CompletionHead)->res;
        }
    }
}
