using System.Diagnostics;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>What a queue serves and how large its parts are: its options, the disk and the ring in figures.</summary>
internal readonly struct QueuePlan
{
    /// <summary>Completions taken from the disk at a time.</summary>
    public const int ReapBatch = 64;

    /// <summary>
    /// What a mapped request keeps per segment: where its data is (an iovec), and which grant, or entry, it is.
    /// </summary>
    public const int ScratchBytesPerSegment = 16 + sizeof(uint);
    private const int ScratchBytesPerSlot = 256;
    private static readonly int s_segmentsPerPage = Arena.PageBytes / Unsafe.SizeOf<Blkif.RequestSegment>();

    /// <param name="entries">Entries of the ring.</param>
    /// <param name="adopted">The size of the queue that a takeover continues: its requests must have room.</param>
    public QueuePlan(VbdQueueOptions options, Disk disk, int entries, JournalSize? adopted)
    {
        IsReadOnly = options.ReadOnly || disk.ReadOnly;
        OffersBarriers = options.Barriers;
        SyncsWrites = disk.SyncsWrites;
        MergesBlocks = disk.AlignmentBytes > Disk.SectorBytes && !options.NativeSectors;
        NativeSectors = options.NativeSectors;
        // Parts of blocks are merged in memory of our own: to map the guest's pages as well would gain nothing.
        Mode = MergesBlocks ? GrantMode.Copy : options.GrantMode;
        Slots = adopted?.Slots ?? Math.Clamp(options.MaxInFlight ?? int.MaxValue, 1, entries);
        MaxIndirectSegments = Math.Max(
            Math.Clamp(options.MaxIndirectSegments, 0, VbdQueueOptions.IndirectSegmentsLimit),
            adopted?.MaxIndirectSegments ?? 0
        );

        PersistentIdleTicks = (long)(options.PersistentIdle.TotalSeconds * Stopwatch.Frequency);
        PoolPages = MaxIndirectSegments == 0 ? 0 : options.PoolPages(RunPagesOf(MaxIndirectSegments), Slots);
        PersistentGrants = Mode == GrantMode.Persistent ? options.PersistentCapacity(Slots) : 0;
        PersistentRanges = PersistentGrants == 0 ? 0 : options.PersistentRanges(Slots);
    }

    /// <summary>Everything but READ is refused (B6).</summary>
    public bool IsReadOnly { get; }

    /// <summary>WRITE_BARRIER is served.</summary>
    public bool OffersBarriers { get; }

    /// <summary>The answer to a write is a promise as that to a flush: <see cref="Disk.SyncsWrites"/>.</summary>
    public bool SyncsWrites { get; }

    /// <summary>The disk's blocks are larger than the guest's sectors: parts of blocks are read-modify-write.</summary>
    public bool MergesBlocks { get; }

    /// <summary>The frontend was told the disk's own sector size: parts of blocks are errors.</summary>
    public bool NativeSectors { get; }

    public GrantMode Mode { get; }

    /// <summary>Requests in flight, at most.</summary>
    public int Slots { get; }

    /// <summary>Segments of an INDIRECT request, at most; 0 when it is not served.</summary>
    public int MaxIndirectSegments { get; }

    /// <summary>Pages that INDIRECT requests share for their segments and data.</summary>
    public int PoolPages { get; }

    /// <summary>Persistent grants that stay mapped, at most, and the ranges in which they are mapped.</summary>
    public int PersistentGrants { get; }
    public int PersistentRanges { get; }

    /// <summary>Stopwatch ticks after which a persistent grant that no request uses is unmapped.</summary>
    public long PersistentIdleTicks { get; }

    public bool Copies => Mode == GrantMode.Copy;

    /// <summary>Pages of a direct request's buffer; none where its data is mapped.</summary>
    public int BufferPagesPerSlot =>
        Copies ? Blkif.MaxSegmentsPerRequest + (MergesBlocks ? BlockRmw.ExtraPages : 0) : 0;

    /// <summary>Pages of all buffers, the pool's included.</summary>
    public int BufferPages => (Slots * BufferPagesPerSlot) + PoolPages;

    /// <summary>Segments that can be copied at a time: each has a page of the buffers.</summary>
    public int CopySegments => Copies ? BufferPages : 0;

    /// <summary>Pages of segment lists that can be copied at a time.</summary>
    public int ListPages => Slots * ListPagesOf(MaxIndirectSegments);

    /// <summary>Groups of pages that can be mapped or unmapped at a time.</summary>
    public int Mappings => Copies ? 0 : Math.Max(Slots, PersistentRanges);

    public int ScratchBytes => Copies ? 0 : Slots * ScratchBytesPerSlot;

    /// <summary>A mapped direct request's scratch memory.</summary>
    public static int ScratchOffsetOf(int index) => index * ScratchBytesPerSlot;

    /// <summary>Pages that list <paramref name="segments"/> segments.</summary>
    public static int ListPagesOf(int segments) => (segments + s_segmentsPerPage - 1) / s_segmentsPerPage;

    /// <summary>
    /// Pages of the pool that an INDIRECT request takes: its list, then its data, or where its mapped data is.
    /// </summary>
    public int RunPagesOf(int segments) =>
        ListPagesOf(segments)
        + (
            Copies
                ? segments + (MergesBlocks ? BlockRmw.ExtraPages : 0)
                : ((segments * ScratchBytesPerSegment) + Arena.PageBytes - 1) / Arena.PageBytes
        );
}
