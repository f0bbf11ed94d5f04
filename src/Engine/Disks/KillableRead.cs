using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// One read for the control plane from a disk that may not answer. A thread that waits for a disk in pread(2) cannot be
/// killed, and its process with all other disks cannot end before the disk answers; one that waits for io_uring can.
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

    /// <summary>As pread(2), which it is where io_uring is refused: bytes, 0 at the end, or -errno.</summary>
    /// <param name="buffer">The kernel's until this returns, however long the disk takes.</param>
    public static nint Read(FileDescriptor file, byte* buffer, int length, long offset)
    {
        if (!IoUring.TryCreate(s_forOneRequest, out IoUring? ring, out _))
            return Libc.Pread(file.Value, buffer, (nuint)length, offset);
        using (ring)
        {
            ring.Enable();
            // Safe: the only entry of a ring that is empty.
            io_uring_sqe* sqe = ring.TryGetSqe();
            sqe->opcode = IoUringAbi.IORING_OP_READ;
            sqe->fd = file.Value;
            sqe->addr = (ulong)buffer;
            sqe->len = (uint)length;
            sqe->off = (ulong)offset;
            while (ring.LoadCompletionTail() == ring.CompletionHead)
            {
                int taken = ring.SubmitAndWait(1);
                // Refused before the kernel took it, so that the buffer is ours.
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
