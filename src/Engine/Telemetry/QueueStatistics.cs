using System.Runtime.CompilerServices;

namespace Blkring.Engine.Telemetry;

/// <summary>
/// The kinds of request that accounting distinguishes (B21). A WRITE_BARRIER counts as a flush, and so does a
/// FLUSH_DISKCACHE with data.
/// </summary>
public enum RequestKind : byte
{
    Read,
    Write,
    Flush,
    Discard,

    /// <summary>An operation that the backend does not offer; only ever counted as invalid.</summary>
    Other,
}

/// <summary>The counters of one kind of request.</summary>
public sealed class KindStatistics
{
    internal long OperationsField,
        BytesField,
        FailedField,
        InvalidField;

    /// <summary>Requests answered with BLKIF_RSP_OKAY.</summary>
    public long Operations => Volatile.Read(ref OperationsField);

    /// <summary>Bytes transferred or discarded by answered requests.</summary>
    public long Bytes => Volatile.Read(ref BytesField);

    /// <summary>Valid requests that failed because of the disk or a grant.</summary>
    public long Failed => Volatile.Read(ref FailedField);

    /// <summary>Requests rejected by validation, before any I/O (B8).</summary>
    public long Invalid => Volatile.Read(ref InvalidField);

    /// <summary>Nanoseconds from taking the request off the ring to pushing its response.</summary>
    public LatencyHistogram LatencyNs { get; } = new();
}

/// <summary>
/// The accounting of one queue (B21). Only the queue's thread writes it; any thread may read it. Allocated at connect.
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

    /// <summary>Passes that found something to do.</summary>
    public long Passes => Volatile.Read(ref PassesField);
    public long GrantCopyCalls => Volatile.Read(ref GrantCopyCallsField);
    public long GrantCopySegments => Volatile.Read(ref GrantCopySegmentsField);

    /// <summary>
    /// Flushes that needed no disk operation of their own, because one served several of them.
    /// </summary>
    public long MergedFlushes => Volatile.Read(ref MergedFlushesField);
    public long GrantMapCalls => Volatile.Read(ref GrantMapCallsField);
    public long GrantMapPages => Volatile.Read(ref GrantMapPagesField);
    public long GrantUnmapCalls => Volatile.Read(ref GrantUnmapCallsField);

    /// <summary>Pages unmapped; the difference to <see cref="GrantMapPages"/> is mapped now.</summary>
    public long GrantUnmapPages => Volatile.Read(ref GrantUnmapPagesField);
    public long Pushes => Volatile.Read(ref PushesField);
    public long Notifications => Volatile.Read(ref NotificationsField);

    /// <summary>Completions for a slot that has been reused since: counted and otherwise ignored.</summary>
    public long StaleCompletions => Volatile.Read(ref StaleCompletionsField);

    /// <summary>Disk operations repeated after EINTR or EAGAIN.</summary>
    public long Retries => Volatile.Read(ref RetriesField);

    /// <summary>Requests in flight, sampled once per pass.</summary>
    public LatencyHistogram QueueDepth { get; } = new();

    /// <summary>The number of requests that a pass took off the ring.</summary>
    public LatencyHistogram BatchSize { get; } = new();

    /// <summary>Requests answered, with any status.</summary>
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
