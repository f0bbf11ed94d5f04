using System.Text.Json;
using System.Text.Json.Serialization;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;

namespace Blkring.Commands.Control;

/// <summary>
/// A request over the control socket: one JSON object per line, answered by one line. A connection carries any number
/// of requests.
/// </summary>
internal sealed record ControlRequest
{
    public const string List = "list",
        Resize = "resize",
        Pause = "pause",
        Resume = "resume",
        Continue = "continue",
        Eject = "eject",
        Insert = "insert",
        Limit = "limit";

    /// <summary>The commands that name a device.</summary>
    public static readonly IReadOnlyList<string> OfDevice = [Resize, Pause, Resume, Continue, Eject, Insert, Limit];

    /// <summary>The longest request.</summary>
    public const int MaxBytes = 8192;

    public string Command { get; init; } = "";

    /// <summary>7/51712 or 7/xvda</summary>
    public string? Device { get; init; }

    /// <summary>For resize: the new length, at most the image's. Absent: the length of the image.</summary>
    public long? Bytes { get; init; }

    /// <summary>For insert: the absolute path of the image.</summary>
    public string? Path { get; init; }

    /// <summary>For continue: a request that crashed the daemon too often is answered with an error.</summary>
    public bool? FailRequest { get; init; }

    /// <summary>For limit: limits that are absent do not change.</summary>
    public LimitsReport? Limits { get; init; }

    /// <summary>For limit: true keeps them for the next daemon.</summary>
    public bool? Keep { get; init; }
}

/// <summary>The limits of a device; 0 is no limit.</summary>
internal sealed record LimitsReport
{
    public long? Iops { get; init; }

    /// <summary>Requests that may start at once after an idle period.</summary>
    public long? IopsBurst { get; init; }
    public long? BytesPerSecond { get; init; }
    public long? BytesBurst { get; init; }

    /// <returns>Null for a device without limits.</returns>
    public static LimitsReport? Of(ThrottleLimits limits) =>
        limits.Iops == 0 && limits.BytesPerSecond == 0
            ? null
            : new LimitsReport
            {
                Iops = limits.Iops,
                IopsBurst = limits.IopsBurst,
                BytesPerSecond = limits.BytesPerSecond,
                BytesBurst = limits.BytesBurst,
            };

    /// <summary>Sets at least one limit, and none to a negative value.</summary>
    [JsonIgnore]
    public bool IsChange =>
        this is not { Iops: null, IopsBurst: null, BytesPerSecond: null, BytesBurst: null }
        && this is not ({ Iops: < 0 } or { IopsBurst: < 0 } or { BytesPerSecond: < 0 } or { BytesBurst: < 0 });

    public ThrottleLimits ApplyTo(ThrottleLimits limits) =>
        new()
        {
            Iops = Iops ?? limits.Iops,
            IopsBurst = IopsBurst ?? limits.IopsBurst,
            BytesPerSecond = BytesPerSecond ?? limits.BytesPerSecond,
            BytesBurst = BytesBurst ?? limits.BytesBurst,
        };
}

internal sealed record ControlResponse
{
    /// <summary>Null when the request was carried out, otherwise the reason in one line.</summary>
    public string? Error { get; init; }

    /// <summary>For list.</summary>
    public IReadOnlyList<DeviceReport>? Devices { get; init; }

    /// <summary>For list: guests' pages that all devices together may have mapped, and that theirs may be.</summary>
    public MappedGrantsReport? MappedGrants { get; init; }
}

/// <param name="Taken">The sum of <see cref="DeviceReport.MaxMappedPages"/>.</param>
internal sealed record MappedGrantsReport(int Taken, int Limit);

/// <summary>One device as <c>blkring list</c> and <c>blkring stats</c> show it.</summary>
internal sealed record DeviceReport
{
    /// <summary>7/51712</summary>
    public required string Device { get; init; }

    /// <summary>xvda</summary>
    public required string Name { get; init; }

    /// <summary>One line about the image: its kind, path, length and access.</summary>
    public required string Image { get; init; }

    /// <summary>Null when no image is open.</summary>
    public string? ImagePath { get; init; }

    /// <summary><see cref="ImagePath"/> is a block device.</summary>
    public bool BlockDevice { get; init; }

    /// <summary>
    /// What keeps others from the image: exclusive, shared; waiting; none (its file system has no locks); off (as
    /// asked). Null when no image is open.
    /// </summary>
    public string? Lock { get; init; }

    /// <summary>A block device that this host can neither mount nor claim otherwise meanwhile.</summary>
    public bool Claimed { get; init; }

    /// <summary>
    /// The backend's state, by its name in xenbus.h in lower case: connected, closed; or paused, stopping, waiting.
    /// </summary>
    public required string State { get; init; }
    public required string FrontendState { get; init; }
    public long? CapacityBytes { get; init; }
    public bool ReadOnly { get; init; }

    /// <summary>The ABI of the frontend. Null while it is not connected, as are the next three.</summary>
    public string? Protocol { get; init; }
    public int? Queues { get; init; }
    public int? RingPages { get; init; }

    /// <summary>The guest's pages that may be mapped at a time; 0 if pages are copied.</summary>
    public int? MaxMappedPages { get; init; }

    /// <summary>The features that the frontend may use: flush, barrier, discard, indirect, persistent.</summary>
    public IReadOnlyList<string> Features { get; init; } = [];

    /// <summary>Null for a device without limits.</summary>
    public LimitsReport? Limits { get; init; }

    /// <summary>The last error, as it is in xenstore.</summary>
    public string? Error { get; init; }

    /// <summary>What the device has been waiting for, and how long: an image that does not open, a request.</summary>
    public string? Delay { get; init; }

    /// <summary>The device waits for <c>blkring continue</c>; absent otherwise.</summary>
    public bool? NeedsDecision { get; init; }

    /// <summary>Null while not connected.</summary>
    public DeviceStatistics? Statistics { get; init; }
}

/// <summary>Counters of all queues since the frontend connected.</summary>
internal sealed record DeviceStatistics
{
    public required KindReport Read { get; init; }
    public required KindReport Write { get; init; }
    public required KindReport Flush { get; init; }
    public required KindReport Discard { get; init; }

    /// <summary>Requests that failed validation.</summary>
    public long Invalid { get; init; }

    /// <summary>Requests in flight, sampled once per pass.</summary>
    public double QueueDepthMean { get; init; }
    public long QueueDepthMax { get; init; }

    /// <summary>Requests taken per pass.</summary>
    public double BatchMean { get; init; }
    public long GrantCopyCalls { get; init; }
    public long GrantMapCalls { get; init; }

    /// <summary>Guest pages that are mapped now.</summary>
    public long MappedPages { get; init; }
    public long Notifications { get; init; }

    public static DeviceStatistics Sum(IReadOnlyList<QueueStatistics> queues)
    {
        LatencyHistogram depth = new(),
            batch = new();
        foreach (QueueStatistics queue in queues)
        {
            depth.Add(queue.QueueDepth);
            batch.Add(queue.BatchSize);
        }
        return new DeviceStatistics
        {
            Read = KindReport.Sum(queues, RequestKind.Read),
            Write = KindReport.Sum(queues, RequestKind.Write),
            Flush = KindReport.Sum(queues, RequestKind.Flush),
            Discard = KindReport.Sum(queues, RequestKind.Discard),
            Invalid = queues.Sum(queue =>
                queue.Read.Invalid
                + queue.Write.Invalid
                + queue.Flush.Invalid
                + queue.Discard.Invalid
                + queue.Other.Invalid
            ),
            QueueDepthMean = Math.Round(depth.Mean, 2),
            QueueDepthMax = depth.Max,
            BatchMean = Math.Round(batch.Mean, 2),
            GrantCopyCalls = queues.Sum(queue => queue.GrantCopyCalls),
            GrantMapCalls = queues.Sum(queue => queue.GrantMapCalls),
            MappedPages = queues.Sum(queue => queue.GrantMapPages - queue.GrantUnmapPages),
            Notifications = queues.Sum(queue => queue.Notifications),
        };
    }
}

/// <summary>Requests of one kind.</summary>
internal sealed record KindReport
{
    public long Operations { get; init; }
    public long Bytes { get; init; }
    public long Failed { get; init; }

    /// <summary>Microseconds from taking a request off the ring to its response, as are the next two.</summary>
    public double P50Us { get; init; }
    public double P99Us { get; init; }
    public double P999Us { get; init; }

    public static KindReport Sum(IReadOnlyList<QueueStatistics> queues, RequestKind kind)
    {
        LatencyHistogram latency = new();
        foreach (QueueStatistics queue in queues)
            latency.Add(queue[kind].LatencyNs);
        return new KindReport
        {
            Operations = queues.Sum(queue => queue[kind].Operations),
            Bytes = queues.Sum(queue => queue[kind].Bytes),
            Failed = queues.Sum(queue => queue[kind].Failed),
            P50Us = Microseconds(latency, 0.5),
            P99Us = Microseconds(latency, 0.99),
            P999Us = Microseconds(latency, 0.999),
        };
    }

    private static double Microseconds(LatencyHistogram latencyNs, double quantile) =>
        Math.Round(latencyNs.ValueAt(quantile) / 1000.0, 1);
}

[JsonSerializable(typeof(ControlRequest))]
[JsonSerializable(typeof(ControlResponse))]
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull
)]
internal sealed partial class ControlJson : JsonSerializerContext;

/// <summary>Like <see cref="ControlJson"/>, but indented, for standard output.</summary>
[JsonSerializable(typeof(IReadOnlyList<DeviceReport>))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
internal sealed partial class DeviceJson : JsonSerializerContext
{
    public static void Write(IReadOnlyList<DeviceReport> devices) =>
        Console.Out.WriteLine(JsonSerializer.Serialize(devices, Default.IReadOnlyListDeviceReport));
}
