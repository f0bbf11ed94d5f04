using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>How a queue is sized and what it may do; fixed at connect.</summary>
public sealed record VbdQueueOptions : ServingOptions
{
    public VbdQueueOptions() { }

    /// <summary>A queue of a device that is served with these options.</summary>
    public VbdQueueOptions(ServingOptions device)
        : base(device) { }

    /// <summary>Pages of the ring: 1, 2, 4, 8 or 16.</summary>
    public int RingPages { get; init; } = 1;

    /// <summary>The frontend's domain: whose grants the copies name.</summary>
    public DomainId Frontend { get; init; }

    /// <summary>The kernel registers at most 1 GiB in one piece, the slots' own buffers included.</summary>
    private const int MaxIndirectMemoryBytes = 1 << 29;

    /// <summary>BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST pages of segments.</summary>
    public const int IndirectSegmentsLimit = 4096;

    private const int LeastPersistentGrants = 1056;

    /// <summary>
    /// WRITE_BARRIER is offered: not where the device has several rings, for a barrier orders one alone.
    /// </summary>
    public bool Barriers { get; init; } = true;

    /// <summary>
    /// Where the slots live when they are to survive the process; the queue's own from here on. Null keeps them in its
    /// memory.
    /// </summary>
    public RingJournal? Journal { get; init; }

    /// <summary>
    /// Requests that the journal says were under way are done again (<c>VbdConnection.Takeover</c>).
    /// </summary>
    public bool Takeover { get; init; }

    /// <summary>
    /// After EAGAIN or EINTR from the disk: long enough not to burn the CPU, short enough not to be felt.
    /// </summary>
    public TimeSpan RetryDelay { get; init; } = DefaultRetryDelay;
    internal static readonly TimeSpan DefaultRetryDelay = TimeSpan.FromMilliseconds(1);

    /// <summary>The queue's time. Its timestamps have the frequency of Stopwatch's.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>
    /// The private indices to start from: 0 but after a restart of the backend (<c>VbdConnection.Takeover</c>).
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
