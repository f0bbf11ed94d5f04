using System.Runtime.CompilerServices;

namespace Blkring.Engine.Telemetry;

/// <summary>
/// What accounting tells apart (B21). A WRITE_BARRIER counts as a flush, as a FLUSH_DISKCACHE with data does.
/// </summary>
public enum RequestKind : byte
{
    Read,
    Write,
    Flush,
    Discard,

    /// <summary>An operation nobody offered; only ever counted as invalid.</summary>
    Other,
}

/// <summary>Counters of one kind of request.</summary>
public sealed class KindStatistics
{
    internal long OperationsField,
        BytesField,
        FailedField,
        InvalidField;

    /// <summary>Answered OKAY.</summary>
    public long Operations => Volatile.Read(ref OperationsField);

    /// <summary>Moved or discarded by answered requests.</summary>
    public long Bytes => Volatile.Read(ref BytesField);

    /// <summary>Valid, but the disk or a grant failed.</summary>
    public long Failed => Volatile.Read(ref FailedField);

    /// <summary>Rejected before anything was touched (B8).</summary>
    public long Invalid => Volatile.Read(ref InvalidField);

    /// <summary>Nanoseconds from taking the request off the ring to pushing its response.</summary>
    public LatencyHistogram LatencyNs { get; } = new();
}

/// <summary>
/// Accounting of one queue (B21): written by the queue's thread only, read by anyone. Allocated at connect.
/// </summary>
public sealed class QueueStatistics
{
    private readonly KindStatistics[] _kinds = [new(), new(), new(), new(), new()];
    internal long PassesField,
        GrantCopyCallsField,
        GrantCopySegmentsField,
        PushesField,
        NotificationsField,
        StaleCompletionsField,
        RetriesField;
    internal long MergedFlushesField,
        GrantMapCallsField,
        GrantMapPagesField,
        GrantUnmapCallsField,
        GrantUnmapPagesField;

    public KindStatistics this[RequestKind kind]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _kinds[(int)kind];
    }

    public KindStatistics Read => this[RequestKind.Read];
    public KindStatistics Write => this[RequestKind.Write];
    public KindStatistics Flush => this[RequestKind.Flush];
    public KindStatistics Discard => this[RequestKind.Discard];
    public KindStatistics Other => this[RequestKind.Other];

    /// <summary>Turns of the queue that found something to do.</summary>
    public long Passes => Volatile.Read(ref PassesField);
    public long GrantCopyCalls => Volatile.Read(ref GrantCopyCallsField);
    public long GrantCopySegments => Volatile.Read(ref GrantCopySegmentsField);

    /// <summary>
    /// Flushes that needed no disk operation of their own, because they were wanted together with another.
    /// </summary>
    public long MergedFlushes => Volatile.Read(ref MergedFlushesField);
    public long GrantMapCalls => Volatile.Read(ref GrantMapCallsField);
    public long GrantMapPages => Volatile.Read(ref GrantMapPagesField);
    public long GrantUnmapCalls => Volatile.Read(ref GrantUnmapCallsField);

    /// <summary>As many as were mapped, but for those that are mapped now.</summary>
    public long GrantUnmapPages => Volatile.Read(ref GrantUnmapPagesField);
    public long Pushes => Volatile.Read(ref PushesField);
    public long Notifications => Volatile.Read(ref NotificationsField);

    /// <summary>Completions whose slot had moved on: noticed, never followed.</summary>
    public long StaleCompletions => Volatile.Read(ref StaleCompletionsField);

    /// <summary>Disk operations started again after EINTR or EAGAIN.</summary>
    public long Retries => Volatile.Read(ref RetriesField);

    /// <summary>Requests in flight, sampled once a pass.</summary>
    public LatencyHistogram QueueDepth { get; } = new();

    /// <summary>Requests taken off the ring by one pass.</summary>
    public LatencyHistogram BatchSize { get; } = new();

    /// <summary>Requests answered, whatever the status.</summary>
    public long Answered
    {
        get
        {
            long sum = 0;
            foreach (KindStatistics kind in _kinds)
                sum += kind.Operations + kind.Failed + kind.Invalid;
            return sum;
        }
    }
}
