using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>What a slot waits for.</summary>
internal enum SlotStage : byte
{
    Free,

    /// <summary>INDIRECT: until the queue's page pool has room for the request's segments and data.</summary>
    AwaitPages,

    /// <summary>INDIRECT: the pages that list the segments are to be copied.</summary>
    FetchSegments,

    /// <summary>Persistent grants: until enough other pages are unused.</summary>
    AwaitGrants,

    /// <summary>Where nothing is copied: the guest's pages are to be mapped.</summary>
    Map,

    /// <summary>WRITE, and FLUSH or BARRIER with data: the guest's pages are to be copied into the buffer.</summary>
    CopyIn,

    /// <summary>A barrier that waits until every request before it is answered.</summary>
    Barrier,

    /// <summary>A flush before the data (B11), or one without data.</summary>
    FlushBefore,

    /// <summary>Read-modify-write: until no other request writes the blocks that this one changes.</summary>
    AwaitBlocks,

    /// <summary>Read-modify-write: the block in which the data starts is read.</summary>
    ReadHead,

    /// <summary>Read-modify-write: the block in which the data ends is read.</summary>
    ReadTail,

    /// <summary>The disk reads or writes.</summary>
    Transfer,

    /// <summary>The flush that makes a barrier's data stable.</summary>
    FlushAfter,

    /// <summary>The pieces of a discard.</summary>
    Discard,

    /// <summary>READ: the buffer is to be copied to the guest's pages.</summary>
    CopyOut,

    /// <summary>The disk is full or gone: kept for another queue to replay (<see cref="LostDisk"/>).</summary>
    Lost,

    /// <summary>The response is on the ring, not yet pushed.</summary>
    Answered,
}

/// <summary>What a slot has taken and must give back before its response is pushed.</summary>
[Flags]
internal enum SlotHolds : byte
{
    None,

    /// <summary>A run of the queue's page pool: <see cref="RequestSlot.RunFirst"/>.</summary>
    Pages = 1,

    /// <summary>Its own mapping of the guest's pages: <see cref="RequestSlot.Mapped"/>.</summary>
    Maps = 2,

    /// <summary>A pin on a persistent grant for each segment.</summary>
    Pins = 4,

    /// <summary>
    /// Its extent is that of whole blocks. A write has also taken them: <see cref="RequestSlot.Range"/>.
    /// </summary>
    Blocks = 8,

    /// <summary>A place among the transfers that may wait: <see cref="WaitingPlaces"/>.</summary>
    Place = 16,
}

/// <summary>
/// A request in flight (B1): what dies with the process. What a takeover needs is in the <see cref="Record"/> beside
/// it. Both are fixed memory, so that serving a request allocates nothing.
/// </summary>
/// <remarks>
/// An odd number of cache lines: with a power of two the first lines of all slots would share a few sets of the cache.
/// </remarks>
[StructLayout(LayoutKind.Sequential, Size = 192)]
internal unsafe struct RequestSlot
{
    // What every request touches comes first and lies in one cache line.
    public SlotStage Stage;
    public RequestKind Kind;

    /// <summary>BLKIF_RSP_*</summary>
    public short Status;

    /// <summary>EINTR and EAGAIN taken so far.</summary>
    public ushort Retries;

    /// <summary>Rejected before anything was touched: counted as invalid, not as failed.</summary>
    public bool Invalid;

    /// <summary>None while the slot is free, and for a direct request whose data is copied.</summary>
    public SlotHolds Holds;

    /// <summary>Part of the completion's tag: a completion of an earlier use of the slot is noticed.</summary>
    public uint Generation;

    /// <summary>
    /// Where the data starts: in the arena, at the first segment's own offset within a page, or in the guest's mapped
    /// pages.
    /// </summary>
    public byte* Data;
    public long OffsetBytes;
    public int LengthBytes;
    public int DoneBytes;

    /// <summary>Stopwatch ticks.</summary>
    public long TakenAt;

    /// <summary>The next slot in the <see cref="SlotList"/> that this one is in.</summary>
    public ushort Next;

    /// <summary>What a takeover reads: in the journal's file, or in the arena where there is no journal.</summary>
    public Journal.Record* Record;

    /// <summary>With <see cref="SlotHolds.Pages"/>: the run's first page in the pool, and its length.</summary>
    public int RunFirst,
        RunPages;

    /// <summary>With <see cref="SlotHolds.Maps"/>: what is to be unmapped.</summary>
    public byte* Mapped;

    /// <summary>
    /// Mapped pages that do not follow each other: what is left to transfer. Without vectors all data is at
    /// <see cref="Data"/>.
    /// </summary>
    public iovec* Vectors;
    public int VectorCount;

    /// <summary>
    /// With <see cref="SlotHolds.Blocks"/>: the entry in the disk's <see cref="BlockRanges"/>, and the length that the
    /// guest asked for.
    /// </summary>
    public int Range,
        GuestBytes;

    /// <summary>Discard only: the next byte to issue, and the end.</summary>
    public long DiscardNext,
        DiscardEnd;

    /// <summary>
    /// Discard only: the pieces under way, one bit each. Bit 0 is the last one issued, whose generation is the slot's.
    /// </summary>
    public ulong DiscardPieces;
    public DiscardMethod DiscardMethod;

    /// <summary>Discard only: the first error of a piece, 0 when there was none.</summary>
    public int DiscardError;

    /// <summary>The only copy of the request that is ever looked at (B3).</summary>
    public readonly ref Blkif.DecodedRequest Request
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref (*Record).Decoded();
    }

    /// <summary>
    /// The request's segments and data lie in its run of the page pool: it came as INDIRECT, and no longer says so.
    /// </summary>
    public readonly bool HasRun => (Holds & SlotHolds.Pages) != 0;

    /// <summary>Bytes that the answered request moved or discarded.</summary>
    public readonly long AnsweredBytes => Kind == RequestKind.Discard ? DiscardEnd - OffsetBytes : LengthBytes;
}
