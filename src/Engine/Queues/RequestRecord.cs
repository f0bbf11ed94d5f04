using System.Runtime.CompilerServices;
using Blkring.Abi;

namespace Blkring.Engine.Queues;

/// <summary>
/// The durable part of a request in flight, <see cref="Journal.Record"/>. The ring's codec decodes the request into it,
/// so keeping it costs no copy.
/// </summary>
/// <remarks>
/// The order of the stores is the order in which they happen: all are one thread's, and a killed process ends between
/// two of them. So each method stores last what promises the rest.
/// </remarks>
internal static class RequestRecord
{
    /// <summary>The request as the codec sees it: <see cref="Journal.Request"/> has the same layout.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref Blkif.DecodedRequest Decoded(this ref Journal.Record record) =>
        ref Unsafe.As<Journal.Request, Blkif.DecodedRequest>(ref record.Request);

    /// <summary>The request is complete in the record.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MarkTaken(this ref Journal.Record record, uint requestIndex)
    {
        record.IsIndirect = 0;
        record.RequestIndex = requestIndex;
        Volatile.Write(ref record.State, (byte)Journal.RecordTaken);
    }

    /// <summary>
    /// From here on the request is a READ or WRITE like any other. First the mark: killed between the two stores in the
    /// other order, a daemon would leave a direct request behind.
    /// </summary>
    public static void MarkIndirect(this ref Journal.Record record, byte operation)
    {
        Volatile.Write(ref record.IsIndirect, 1);
        Volatile.Write(ref record.Request.Operation, operation);
    }

    /// <summary>The response is on the ring.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MarkAnswered(this ref Journal.Record record, uint responseIndex)
    {
        record.ResponseIndex = responseIndex;
        Volatile.Write(ref record.State, (byte)Journal.RecordAnswered);
    }

    /// <summary>Whether the frontend still waits for the response.</summary>
    /// <param name="pushed">The ring's rsp_prod: the first response that the frontend has not seen.</param>
    public static bool IsUnderWay(this ref readonly Journal.Record record, uint pushed) =>
        record.State == Journal.RecordTaken
        || (record.State == Journal.RecordAnswered && (int)(record.ResponseIndex - pushed) >= 0);

    /// <summary>
    /// Whether the answered records must be forgotten after this push. A record says Answered until its slot is taken
    /// again, and <see cref="IsUnderWay"/> compares its index with rsp_prod; indices come round, so none may fall
    /// behind by half their range.
    /// </summary>
    /// <param name="first">Ring index of the first response of the push.</param>
    /// <param name="end">Ring index after the last one.</param>
    public static bool MustForget(uint first, uint end) => (first ^ end) >> 30 != 0;
}
