using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>The sizes and features of a queue; fixed at connect.</summary>
public sealed record VbdQueueOptions : ServingOptions
{
    public VbdQueueOptions() { }

    /// <summary>A queue of a device that is served with these options.</summary>
    public VbdQueueOptions(ServingOptions device)
        : base(device) { }

    /// <summary>Pages of the ring: 1, 2, 4, 8 or 16.</summary>
    public int RingPages { get; init; } = 1;

    /// <summary>The domain of the frontend, whose grants are copied or mapped.</summary>
    public DomainId Frontend { get; init; }

    /// <summary>The kernel registers at most 1 GiB in one piece, including the slots' own buffers.</summary>
    private const int MaxIndirectMemoryBytes = 1 << 29;

    /// <summary>BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST pages of segments.</summary>
    public const int IndirectSegmentsLimit = 4096;

    /// <summary>What Linux keeps per ring.</summary>
    private const int LeastPersistentGrants = 1056;

    /// <summary>
    /// Whether WRITE_BARRIER is offered. It is not if the device has several rings, because a barrier orders only one.
    /// </summary>
    public bool Barriers { get; init; } = true;

    /// <summary>
    /// The journal that keeps the records of requests across the end of the process; the queue owns it from here on.
    /// Null: the records are in the queue's own memory.
    /// </summary>
    public RingJournal? Journal { get; init; }

    /// <summary>
    /// Whether the requests in the journal are replayed (<c>VbdConnection.Takeover</c>).
    /// </summary>
    public bool Takeover { get; init; }

    /// <summary>With <see cref="Takeover"/>: the daemon before ended by a fault of its own.</summary>
    public bool AfterCrash { get; init; }

    /// <summary>What an operator said about a request that crashed the daemon too often.</summary>
    public SuspectDecision Suspect { get; init; }

    /// <summary>
    /// A takeover that does without what the journal says: all requests without a response are done in the ring's order
    /// (<c>VbdConnection.ForgoesJournals</c>).
    /// </summary>
    public bool ForgoesJournal { get; init; }

    /// <summary>
    /// The delay before a retry after EAGAIN or EINTR from the disk: long enough to leave the CPU alone, short enough
    /// not to be noticed.
    /// </summary>
    public TimeSpan RetryDelay { get; init; } = DefaultRetryDelay;
    internal static readonly TimeSpan DefaultRetryDelay = TimeSpan.FromMilliseconds(1);

    /// <summary>The queue's time. Given any, its timestamps have the frequency of Stopwatch.</summary>
    public TimeProvider Clock
    {
        get;
        init => field = StopwatchClock.Of(value);
    } = TimeProvider.System;

    /// <summary>
    /// The start value of the private indices: 0 except in a takeover (<c>VbdConnection.Takeover</c>).
    /// </summary>
    public uint RingIndex { get; init; }

    /// <summary>
    /// The number of grants that may stay mapped, never less than the longest request needs. The default has room for
    /// every slot at the request lengths that frontends use (Linux: 32 segments); with less, a full ring of requests
    /// would evict the grants that the next request needs. Where there is no room for that (<c>MappingBudget</c>), a
    /// queue has what Linux keeps.
    /// </summary>
    internal int PersistentCapacity(int slots) =>
        Math.Clamp(
            MaxPersistentGrants
                ?? Math.Max(LeastPersistentGrants, slots * Math.Min(LongestRequest, UsualIndirectSegments)),
            LongestRequest,
            MaxPersistentEntries
        );

    private const int UsualIndirectSegments = 64;

    /// <summary>Whether it would map more than serves a queue well: only where there is room for it.</summary>
    internal bool MapsSpare(int slots) =>
        GrantMode == GrantMode.Persistent
        && MaxPersistentGrants is null
        && PersistentCapacity(slots) > Math.Max(LeastPersistentGrants, LongestRequest);

    /// <summary>These options, and those that map less, where these map too much: the least, then nothing.</summary>
    internal IEnumerable<VbdQueueOptions> ByMapping(int slots)
    {
        yield return this;
        if (MapsSpare(slots))
            yield return this with
            {
                MaxPersistentGrants = LeastPersistentGrants,
            };
        if (GrantMode != GrantMode.Copy)
            yield return this with
            {
                GrantMode = GrantMode.Copy,
            };
    }

    /// <summary>
    /// The number of the guest's pages, apart from the ring, that a queue with <paramref name="slots"/> slots maps at a
    /// time: for the hypervisor's limit.
    /// </summary>
    internal int MappedPages(int slots) =>
        GrantMode switch
        {
            GrantMode.Map => slots * LongestRequest,
            GrantMode.Persistent => PersistentCapacity(slots),
            _ => 0,
        };

    /// <summary>
    /// The number of ranges in which persistent grants are mapped. Frontends that use many pages use many at a time, so
    /// a range has many pages; but each new page of the longest request may need a range of its own.
    /// </summary>
    internal int PersistentRanges(int slots) => LongestRequest + (PersistentCapacity(slots) / UsualRangePages);

    private const int UsualRangePages = 16;

    /// <summary>
    /// The number of mapped ranges, for the kernel's limit: with <see cref="GrantMode.Map"/>, one per request.
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

    /// <summary>The number of pages of the pool, if the longest request takes <paramref name="longest"/>.</summary>
    internal int PoolPages(int longest, int slots) =>
        (int)
            Math.Clamp(
                Math.Min(IndirectMemoryBytes, MaxIndirectMemoryBytes) / Arena.PageBytes,
                longest,
                (long)longest * slots
            );
}
