using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Blkring.Abi;

namespace Blkring.Engine.Queues;

/// <summary>What a takeover is to do with a record (<see cref="RingJournal"/>).</summary>
internal enum RecordState : byte
{
    /// <summary>No request, or the frontend has its response.</summary>
    Free,

    /// <summary>The request is complete in the record and has no response.</summary>
    Taken,

    /// <summary>
    /// The response is on the ring, at <see cref="RequestRecord.ResponseIndex"/>. rsp_prod tells whether it was pushed.
    /// </summary>
    Answered,
}

/// <summary>
/// The durable part of a request in flight. The ring's codec decodes the request into it, so keeping it costs no copy.
/// </summary>
/// <remarks>
/// The order of the stores is the order in which they happen: all are one thread's, and a killed process ends between
/// two of them. So each method stores last what promises the rest.
/// </remarks>
[StructLayout(LayoutKind.Sequential, Size = 192)]
internal struct RequestRecord
{
    public RecordState State;
    public bool IsIndirect;

    /// <summary>Ring index of the request.</summary>
    public uint RequestIndex;

    /// <summary>Ring index of the response, once it is answered.</summary>
    public uint ResponseIndex;
    public Blkif.DecodedRequest Request;

    /// <summary>The request is complete in the record.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void MarkTaken(uint requestIndex)
    {
        IsIndirect = false;
        RequestIndex = requestIndex;
        Store(RecordState.Taken);
    }

    /// <summary>
    /// From here on the request is a READ or WRITE like any other. First the mark: killed between the two stores in the
    /// other order, a daemon would leave a direct request behind.
    /// </summary>
    public void MarkIndirect(byte operation)
    {
        Volatile.Write(ref IsIndirect, true);
        Volatile.Write(ref Request.Operation, operation);
    }

    /// <summary>The response is on the ring.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void MarkAnswered(uint responseIndex)
    {
        ResponseIndex = responseIndex;
        Store(RecordState.Answered);
    }

    /// <summary>Whether the frontend still waits for the response.</summary>
    /// <param name="pushed">The ring's rsp_prod: the first response that the frontend has not seen.</param>
    public readonly bool IsUnderWay(uint pushed) =>
        State == RecordState.Taken || (State == RecordState.Answered && (int)(ResponseIndex - pushed) >= 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Store(RecordState state) => Volatile.Write(ref Unsafe.As<RecordState, byte>(ref State), (byte)state);
}
