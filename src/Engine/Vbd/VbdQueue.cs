using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>What a queue wants next from the thread that turns it.</summary>
public enum TurnResult : byte
{
    /// <summary>Nothing until an event or a completion.</summary>
    Idle,
    /// <summary>The ring holds requests that this pass did not take: turn again.</summary>
    More,
    /// <summary>The disk said EAGAIN: turn again, but not at once.</summary>
    Retry,
}

/// <summary>
/// One blkif ring being served. This is the face that a reactor sees, one call a turn; what is called for every request is in
/// <see cref="VbdQueue{TAbi, TGrants, TEvents, TDisk}"/>, compiled for its ABI, grants, event channel and disk.
/// </summary>
/// <remarks>All members but the statistics belong to the thread that turns the queue.</remarks>
public abstract unsafe class VbdQueue : IDisposable
{
    /// <summary>The slot number in tags of event-channel waits.</summary>
    internal const ushort EventSlot = ushort.MaxValue;

    public QueueStatistics Statistics { get; } = new();
    public FaultLog Faults { get; } = new();

    /// <summary>Requests taken off the ring and not yet answered.</summary>
    public abstract int InFlight { get; }

    /// <summary>The frontend broke the ring: nothing is taken any more (B4).</summary>
    public abstract bool IsBroken { get; }

    /// <summary>Whether requests are taken. Detached, what is under way still ends and is answered (B18).</summary>
    public abstract bool IsAttached { get; }

    public abstract void AttachRing();
    public abstract void DetachRing();

    /// <summary>One pass: finish what completed, take all requests, one grant copy, one push, at most one notification.</summary>
    public abstract TurnResult Turn();

    /// <summary>
    /// To be called after a turn that did not end with <see cref="TurnResult.More"/>, before the thread does anything else: re-arms
    /// req_event, so that the frontend notifies the next request, also with others in flight. True when there is work after all.
    /// </summary>
    public abstract bool FinalCheckForRequests();

    // The reactor's side of the disk and of the event channel.
    internal abstract void AttachDisk(ushort queueIndex, IoUring? ring);
    internal abstract void DetachDisk();
    /// <summary>Takes the run of completions of this queue that starts at <paramref name="head"/>; returns where it ended.</summary>
    internal abstract uint TakeCompletions(IoUring ring, uint head, uint tail);
    internal abstract int EventDescriptor { get; }
    internal abstract void PrepareEventWait(io_uring_sqe* sqe);
    internal abstract void ConsumeEvent();
    /// <summary>The wait's completion came since the flag was last cleared.</summary>
    internal bool EventWaitCompleted { get; set; }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>How a queue is sized and what it may do; fixed at connect.</summary>
public sealed class VbdQueueOptions
{
    /// <summary>Pages of the ring: 1, 2, 4, 8 or 16.</summary>
    public int RingPages { get; init; } = 1;
    /// <summary>The frontend's domain: whose grants the copies name.</summary>
    public DomainId Frontend { get; init; }
    /// <summary>Everything but READ is refused (B6), also when the disk itself could be written.</summary>
    public bool ReadOnly { get; init; }
    /// <summary>Slots, when fewer than the ring has entries are wanted to save memory (44 KiB each); null for all (B1).</summary>
    public int? MaxInFlight { get; init; }
    /// <summary>After EAGAIN or EINTR from the disk: long enough not to burn the CPU, short enough not to be felt.</summary>
    public TimeSpan RetryDelay { get; init; } = DefaultRetryDelay;
    internal static readonly TimeSpan DefaultRetryDelay = TimeSpan.FromMilliseconds(1);
    /// <summary>The private indices to start from: 0 but after a restart of the backend.</summary>
    public uint RingIndex { get; init; }
}
