using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>What a queue wants next from the thread that turns it.</summary>
public enum TurnResult : byte
{
    /// <summary>Nothing until an event or a completion.</summary>
    Idle,

    /// <summary>The ring holds requests that this pass did not take: turn again.</summary>
    More,

    /// <summary>
    /// The disk said EAGAIN, or the device has used up what its limits allow: turn again, but not at once.
    /// </summary>
    Retry,
}

/// <summary>
/// One blkif ring being served. This is the face that a reactor sees, one call a turn; what is called for every request
/// is in <see cref="VbdQueue{TAbi, TGrants, TEvents, TDisk}"/>, compiled for its ABI, grants, event channel and disk.
/// </summary>
/// <remarks>All members but the statistics belong to the thread that turns the queue.</remarks>
public abstract unsafe class VbdQueue : IDisposable
{
    /// <summary>The slot number in tags of event-channel waits.</summary>
    internal const ushort EventSlot = ushort.MaxValue;

    /// <summary>
    /// A pass takes no further request once it has this many segments, 512 KiB of data, and copies no further one that
    /// the disk has finished. What is answered so far then goes out, and the frontend works on it while the next pass
    /// works on the rest; and queues that share the thread get their turns, so a guest that floods a large ring cannot
    /// keep them waiting for as long as all of it takes to copy.
    /// </summary>
    internal const int MaxSegmentsPerPass = 128;

    /// <summary>
    /// With fewer requests a pass costs more than it gains by ending before the frontend has to wait for it.
    /// </summary>
    internal const uint LeastOverlap = 8;

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

    /// <summary>
    /// One pass: finish what completed, take the requests, one grant copy, one push, at most one notification.
    /// </summary>
    /// <param name="overlaps">
    /// The frontend has a CPU of its own: of many requests only a part is taken, so that it has responses to work on
    /// while the next pass works on the rest. Otherwise the two take turns with the whole ring, each waiting for the
    /// other. Where they share a CPU they do so anyway, and shorter passes are only more of them.
    /// </param>
    public abstract TurnResult Turn(bool overlaps = false);

    /// <summary>
    /// The ring holds requests that can be taken now: one look at the shared page, for a thread that does not sleep.
    /// </summary>
    public abstract bool HasRequests { get; }

    /// <summary>Requests are under way, or on the ring, also those that cannot be taken now.</summary>
    public abstract bool HasUnanswered { get; }

    /// <summary>
    /// To be called after a turn that did not end with <see cref="TurnResult.More"/>, before the thread does anything
    /// else: re-arms req_event, so that the frontend notifies the next request, also with others in flight. True when
    /// there is work after all.
    /// </summary>
    public abstract bool FinalCheckForRequests();

    /// <summary>
    /// Notifies the frontend whether it asked for that or not: after a restart nobody knows what it was told. From any
    /// thread.
    /// </summary>
    public abstract void NotifyFrontend();

    /// <summary>
    /// Pages of the guest are mapped that no request uses: <see cref="ReleaseIdleGrants"/> is to be called from time to
    /// time.
    /// </summary>
    public virtual bool HoldsIdleGrants => false;

    /// <summary>
    /// Between turns: unmaps pages that no request has used for <see cref="VbdQueueOptions.PersistentIdle"/>.
    /// </summary>
    /// <param name="now">A Stopwatch timestamp.</param>
    public virtual void ReleaseIdleGrants(long now) { }

    // The reactor's side of the disk and of the event channel.
    /// <param name="wake">See <see cref="DiskAttachment.Wake"/>.</param>
    internal abstract void AttachDisk(ushort queueIndex, IoUring? ring, Action? wake = null);
    internal abstract void DetachDisk();

    /// <summary>
    /// Takes the run of completions of this queue that starts at <paramref name="head"/>; returns where it ended.
    /// </summary>
    internal abstract uint TakeCompletions(IoUring ring, uint head, uint tail);
    internal abstract int EventDescriptor { get; }
    internal abstract void PrepareEventWait(io_uring_sqe* sqe);
    internal abstract void ConsumeEvent();

    /// <summary>
    /// To be called after a final check that found nothing, before the thread may sleep: unmasks the event channel, if
    /// an event was taken since it was last unmasked.
    /// </summary>
    /// <remarks>
    /// No wake-up is lost. A request posted before the final check is seen by it. One posted after it finds req_event
    /// re-armed, so the frontend notifies: while the channel is masked the event is kept pending, and unmasking
    /// delivers it; afterwards it comes by itself. Until here an event could tell nothing that the next look at the
    /// ring does not. A queue that would take nothing stays masked: its next event waits until it is attached again or
    /// has a slot free, and a guest's notifications cost it nothing meanwhile.
    /// </remarks>
    internal abstract void UnmaskEvents();

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
public sealed record VbdQueueOptions
{
    /// <summary>Pages of the ring: 1, 2, 4, 8 or 16.</summary>
    public int RingPages { get; init; } = 1;

    /// <summary>The frontend's domain: whose grants the copies name.</summary>
    public DomainId Frontend { get; init; }

    /// <summary>Everything but READ is refused (B6), also when the disk itself could be written.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>
    /// Slots, when fewer than the ring has entries are wanted to save memory (44 KiB each); null for all (B1).
    /// </summary>
    public int? MaxInFlight { get; init; }

    /// <summary>
    /// Segments of an INDIRECT request (feature-max-indirect-segments); 0 does not offer it. At most 4096.
    /// </summary>
    public int MaxIndirectSegments { get; init; }

    /// <summary>
    /// Memory that INDIRECT requests share for their segments and data: when it is lent out they wait, in order. Never
    /// less than one of the longest needs, never more than one for each slot.
    /// </summary>
    public int IndirectMemoryBytes { get; init; } = DefaultIndirectMemoryBytes;

    /// <summary>
    /// Seven requests of 1 MiB or a hundred of 64 KiB at a time: enough for a fast disk, and a quarter of what a full
    /// page of them would take.
    /// </summary>
    internal const int DefaultIndirectMemoryBytes = 8 << 20;

    /// <summary>The kernel registers at most 1 GiB in one piece, the slots' own buffers included.</summary>
    private const int MaxIndirectMemoryBytes = 1 << 29;

    /// <summary>BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST pages of segments.</summary>
    public const int IndirectSegmentsLimit = 4096;

    /// <summary>How the guest's pages are reached: what <see cref="GrantModes.ForFrontend"/> says.</summary>
    public GrantMode GrantMode { get; init; }

    /// <summary>
    /// Pages that stay mapped with persistent grants, at most; null for a ring of requests of the usual lengths, and at
    /// least 1056, which is what Linux keeps. Requests wait, in order, while those in flight use all of them.
    /// </summary>
    public int? MaxPersistentGrants { get; init; }

    /// <summary>A page that no request used for so long is unmapped.</summary>
    public TimeSpan PersistentIdle { get; init; } = DefaultPersistentIdle;
    internal static readonly TimeSpan DefaultPersistentIdle = TimeSpan.FromSeconds(60);
    private const int LeastPersistentGrants = 1056;

    /// <summary>
    /// The frontend was told the disk's own sector size, not 512: requests that are not whole blocks are errors, where
    /// else they go by way of reading and writing whole ones.
    /// </summary>
    public bool NativeSectors { get; init; }

    /// <summary>
    /// WRITE_BARRIER is offered: not where the device has several rings, for a barrier orders one alone.
    /// </summary>
    public bool Barriers { get; init; } = true;

    /// <summary>The device's limits, shared by its queues; null for none, ever.</summary>
    public Throttle? Throttle { get; init; }

    /// <summary>
    /// Where the slots live when they are to survive the process; the queue's own from here on. Null keeps them in its
    /// memory.
    /// </summary>
    public RingJournal? Journal { get; init; }

    /// <summary>
    /// Requests that the journal says were under way are done again (<see cref="VbdConnection.Resume"/>).
    /// </summary>
    public bool TakesOver { get; init; }

    /// <summary>
    /// After EAGAIN or EINTR from the disk: long enough not to burn the CPU, short enough not to be felt.
    /// </summary>
    public TimeSpan RetryDelay { get; init; } = DefaultRetryDelay;
    internal static readonly TimeSpan DefaultRetryDelay = TimeSpan.FromMilliseconds(1);

    /// <summary>
    /// The private indices to start from: 0 but after a restart of the backend (<see cref="VbdConnection.Resume"/>).
    /// </summary>
    public uint RingIndex { get; init; }

    /// <summary>
    /// Never less than the longest request needs. Unasked, room for every slot at the lengths that frontends use
    /// (Linux: 32 segments): with less, a full ring of them evicts what the next request looks for.
    /// </summary>
    internal int PersistentCapacity(int slots) =>
        Math.Clamp(
            MaxPersistentGrants
                ?? Math.Max(LeastPersistentGrants, slots * Math.Min(LongestRequest, UsualIndirectSegments)),
            LongestRequest,
            MaxPersistentEntries
        );

    private const int UsualIndirectSegments = 64;

    /// <summary>
    /// Pages of the guest's that a queue of that many slots maps at a time, its ring apart: for the hypervisor's limit.
    /// </summary>
    internal int MappedPages(int slots) =>
        GrantMode switch
        {
            GrantMode.Map => slots * LongestRequest,
            GrantMode.Persistent => PersistentCapacity(slots),
            _ => 0,
        };

    /// <summary>
    /// Ranges that the pages of persistent grants are mapped in: frontends that use many pages use many at a time, so
    /// that a range has many; but each fresh page of the longest request may come to need one of its own.
    /// </summary>
    internal int PersistentRanges(int slots) => LongestRequest + (PersistentCapacity(slots) / UsualRangePages);

    private const int UsualRangePages = 16;

    /// <summary>
    /// Ranges of what is mapped, for the kernel's limit: with <see cref="GrantMode.Map"/> a request is one.
    /// </summary>
    internal int MappedRanges(int slots) =>
        GrantMode switch
        {
            GrantMode.Map => slots,
            GrantMode.Persistent => PersistentRanges(slots),
            _ => 0,
        };

    private int LongestRequest =>
        Math.Clamp(MaxIndirectSegments, Abi.Blkif.MaxSegmentsPerRequest, IndirectSegmentsLimit);
    private const int MaxPersistentEntries = 1 << 20;

    /// <summary>Pages of the pool, when the longest request takes <paramref name="longest"/>.</summary>
    internal int PoolPages(int longest, int slots) =>
        (int)
            Math.Clamp(
                Math.Min(IndirectMemoryBytes, MaxIndirectMemoryBytes) / Arena.PageBytes,
                longest,
                (long)longest * slots
            );
}
