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

    /// <summary>INDIRECT: until there is room in the queue's page pool for its segments and data.</summary>
    AwaitPages,

    /// <summary>INDIRECT: the pages that list its segments are to be copied.</summary>
    Describe,

    /// <summary>Persistent grants: until enough others are unused.</summary>
    AwaitGrants,

    /// <summary>Where nothing is copied: the guest's pages are to be mapped.</summary>
    Map,

    /// <summary>WRITE, and FLUSH or BARRIER with data: the guest's pages are to be copied into the buffer.</summary>
    CopyIn,

    /// <summary>A barrier with its data copied, until every request before it is answered.</summary>
    Barrier,

    /// <summary>A flush that goes before the data (B11), or is all there is.</summary>
    FlushBefore,

    /// <summary>Blocks larger than sectors: until nobody else writes those that the write changes.</summary>
    AwaitBlocks,

    /// <summary>The block that the write's data starts in is read, then the one that it ends in.</summary>
    ReadHead,
    ReadTail,

    /// <summary>The disk reads or writes.</summary>
    Transfer,

    /// <summary>A barrier's data is being made stable.</summary>
    FlushAfter,

    /// <summary>The pieces of a discard.</summary>
    Discard,

    /// <summary>READ: the buffer is to be copied to the guest's pages.</summary>
    CopyOut,

    /// <summary>The response is on the ring, not yet pushed.</summary>
    Answered,
}

/// <summary>What a daemon that comes after a killed one reads of a slot (<see cref="RingJournal"/>).</summary>
internal enum SlotRecord : byte
{
    /// <summary>Nothing is under way, or the frontend has its response.</summary>
    None,

    /// <summary>The request is complete in the slot and not answered.</summary>
    Taken,

    /// <summary>
    /// Its response is on the ring, at <see cref="RequestSlot.ResponseIndex"/>; whether it was pushed, rsp_prod tells.
    /// </summary>
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
    /// Its extent is that of whole blocks, and of a write they are taken: <see cref="RequestSlot.Range"/>.
    /// </summary>
    Blocks = 8,
}

/// <summary>
/// A request in flight (B1). Lives in the queue's arena; everything a request needs is here, so that serving it
/// allocates nothing.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 320)]
internal unsafe struct RequestSlot
{
    // What every request touches comes first and lies in one cache line; the request's own head begins the next.
    public SlotStage Stage;
    public RequestKind Kind;

    /// <summary>BLKIF_RSP_*</summary>
    public short Status;

    /// <summary>EINTR and EAGAIN taken so far.</summary>
    public ushort Retries;

    /// <summary>Rejected before anything was touched: counted as invalid, not as failed.</summary>
    public bool Invalid;

    /// <summary>Nothing while the slot is free, and nothing for a direct request whose data is copied.</summary>
    public SlotHolds Holds;

    /// <summary>Part of the completion's tag: a completion of an earlier use of the slot is noticed.</summary>
    public uint Generation;

    /// <summary>
    /// Where the data starts, in the arena at the first segment's own offset within a page, or in the guest's mapped
    /// pages.
    /// </summary>
    public byte* Data;
    public long OffsetBytes;
    public int LengthBytes;
    public int DoneBytes;

    /// <summary>Stopwatch ticks.</summary>
    public long TakenAt;

    /// <summary>The slot behind this one in the <see cref="SlotList"/> that it is in.</summary>
    public ushort Next;
    public SlotRecord Record;

    /// <summary>The request came as INDIRECT, which <see cref="Request"/> no longer says.</summary>
    public bool IsIndirect;

    /// <summary>Where on the ring the request was, and where its response is.</summary>
    public uint RequestIndex,
        ResponseIndex;

    /// <summary>The only copy of the request that is ever looked at (B3).</summary>
    public Blkif.DecodedRequest Request;

    /// <summary>With <see cref="SlotHolds.Pages"/>: the run's first page in the pool, and its length.</summary>
    public int RunFirst,
        RunPages;

    /// <summary>With <see cref="SlotHolds.Maps"/>: what is to be unmapped.</summary>
    public byte* Mapped;

    /// <summary>
    /// Mapped pages that do not follow each other: what is left to transfer. Without vectors <see cref="Data"/> is all
    /// of it.
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
    /// Discard only: the pieces under way, a bit each: bit 0 is the last one issued, whose generation is the slot's.
    /// </summary>
    public ulong DiscardPieces;
    public DiscardMethod DiscardMethod;

    /// <summary>Discard only: the first error of a piece, 0 when there was none.</summary>
    public int DiscardError;

    /// <summary>Bytes that the answered request moved or discarded.</summary>
    public readonly long AnsweredBytes => Kind == RequestKind.Discard ? DiscardEnd - OffsetBytes : LengthBytes;
}
