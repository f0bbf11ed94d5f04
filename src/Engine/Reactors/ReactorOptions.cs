using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>How a reactor's thread runs and waits.</summary>
public sealed record ReactorOptions
{
    public string Name { get; init; } = "blkring-io";

    /// <summary>The CPU to which the thread is pinned; null leaves it to the scheduler.</summary>
    public int? Cpu { get; init; }

    /// <summary>
    /// False waits with poll(2) and does disk I/O with pread and pwrite, as where io_uring is refused.
    /// </summary>
    public bool UseIoUring { get; init; } = true;
    public IoUringOptions Ring { get; init; } = new() { Operations = IoUringWaiter.Operations };

    /// <summary>
    /// See <see cref="ReactorSettings.PollWindowMicroseconds"/>. Zero never polls, and without io_uring there is no
    /// polling.
    /// </summary>
    public TimeSpan PollWindow { get; init; } =
        TimeSpan.FromMicroseconds(ReactorSettings.PollWindowMicroseconds.Default);

    /// <summary>
    /// How often the thread releases persistent grants that have been idle; only while there are any.
    /// </summary>
    public TimeSpan IdleGrantsInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The greatest number of queues at a time.</summary>
    public int MaxQueues { get; init; } = 1024;

    /// <summary>
    /// False starts no thread: the owner calls <see cref="Reactor.RunOnce"/>, and every other member, on one thread of
    /// its own. For tests and simulations, which then decide what happens when. There is no busy polling.
    /// </summary>
    public bool OwnThread { get; init; } = true;

    /// <summary>
    /// The clock of busy polling, of idle grants and, without a thread, of the timeouts of <see cref="Reactor.Drain"/>
    /// and <see cref="Reactor.Remove"/>. Its timestamps reach queues, which compare them with their own.
    /// </summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
