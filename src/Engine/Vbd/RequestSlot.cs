using Blkring.Abi;

namespace Blkring.Engine;

/// <summary>What a slot waits for.</summary>
internal enum SlotStage : byte
{
    Free,
    /// <summary>WRITE, and FLUSH or BARRIER with data: the guest's pages are to be copied into the buffer.</summary>
    CopyIn,
    /// <summary>A barrier with its data copied, until every request before it is answered.</summary>
    Barrier,
    /// <summary>A flush that goes before the data (B11), or is all there is.</summary>
    FlushBefore,
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

/// <summary>
/// A request in flight (B1). Lives in the queue's arena; everything a request needs is here, so that serving it allocates nothing.
/// </summary>
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
    /// <summary>Part of the completion's tag: a completion of an earlier use of the slot is noticed.</summary>
    public uint Generation;
    /// <summary>Where the data starts in the arena: at the first segment's own offset within a page.</summary>
    public byte* Data;
    public long OffsetBytes;
    public int LengthBytes;
    public int DoneBytes;
    /// <summary>Stopwatch ticks.</summary>
    public long TakenAt;
    /// <summary>The only copy of the request that is ever looked at (B3).</summary>
    public Blkif.DecodedRequest Request;
    /// <summary>Discard only: the next byte to issue, the end, and the pieces under way.</summary>
    public long DiscardNext, DiscardEnd;
    public int DiscardPieces;
    /// <summary>Discard only: the first error of a piece, 0 when there was none.</summary>
    public int DiscardError;

    /// <summary>Bytes that the answered request moved or discarded.</summary>
    public readonly long AnsweredBytes => Kind == RequestKind.Discard ? DiscardEnd - OffsetBytes : LengthBytes;
}
