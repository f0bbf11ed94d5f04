using Blkring.Interop;

namespace Blkring.Engine;

public sealed class ReactorOptions
{
    public string Name { get; init; } = "blkring-io";
    /// <summary>Pin the thread to this CPU; null leaves it free.</summary>
    public int? Cpu { get; init; }
    /// <summary>False waits with poll(2) and does disk I/O by pread and pwrite, as where io_uring is refused.</summary>
    public bool UseIoUring { get; init; } = true;
    public IoUringOptions Ring { get; init; } = new();
    /// <summary>Queues that the reactor can carry at a time.</summary>
    public int MaxQueues { get; init; } = 1024;
}
