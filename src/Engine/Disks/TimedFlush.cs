using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>fdatasync(2) with a time limit: on a thread of its own, which a store that hangs keeps.</summary>
internal static class TimedFlush
{
    private const int StackBytes = 128 * 1024;

    /// <returns>0, or a positive errno: ETIMEDOUT if it still goes on after the timeout.</returns>
    public static int Run(FileDescriptor file, TimeSpan timeout)
    {
        int result = -Errno.ETIMEDOUT;
        // The number must not be given to another file while the call goes on.
        bool held = false;
        file.DangerousAddRef(ref held);
        Thread thread = new(
            () =>
            {
                try
                {
                    Volatile.Write(ref result, Libc.Fdatasync(file.Value));
                }
                finally
                {
                    file.DangerousRelease();
                }
            },
            StackBytes
        )
        {
            Name = "blkring-flush",
            IsBackground = true,
        };
        thread.Start();
        return thread.Join(timeout) ? -Volatile.Read(ref result) : Errno.ETIMEDOUT;
    }
}
