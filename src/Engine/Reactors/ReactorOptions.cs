using Blkring.Interop;

namespace Blkring.Engine.Reactors;

public sealed class ReactorOptions
{
    public string Name { get; init; } = "blkring-io";

    /// <summary>Pin the thread to this CPU; null leaves it free.</summary>
    public int? Cpu { get; init; }

    /// <summary>False waits with poll(2) and does disk I/O by pread and pwrite, as where io_uring is refused.</summary>
    public bool UseIoUring { get; init; } = true;
    public IoUringOptions Ring { get; init; } = new();

    /// <summary>
    /// How long the thread looks for work before it sleeps, when looking has been seen to pay, and up to
    /// <see cref="AdaptivePolling.MaxGrowth"/> times as long where its work takes long; zero never looks. Without
    /// io_uring it never does.
    /// </summary>
    public TimeSpan PollWindow { get; init; } = TimeSpan.FromMicroseconds(50);

    /// <summary>
    /// Between looks for persistent grants that have been idle for too long; while there are none, nobody looks.
    /// </summary>
    public TimeSpan IdleGrantsInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Queues that the reactor can carry at a time.</summary>
    public int MaxQueues { get; init; } = 1024;
}
