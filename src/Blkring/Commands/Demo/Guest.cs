using Blkring.Engine;
using Blkring.Engine.Loopback;

namespace Blkring.Commands.Demo;

/// <summary>What a guest needs to know of the disk it is about to test.</summary>
internal sealed record GuestOptions
{
    public long Sectors { get; init; }
    public ulong Seed { get; init; }
    public bool ReadOnly { get; init; }
    public bool Discard { get; init; }
    public bool DiscardZeroes { get; init; }
    /// <summary>The image whose untouched sectors are compared with the image itself; null: they hold zeros.</summary>
    public string? Baseline { get; init; }
}

/// <summary>One phase of the workload as the guest saw it.</summary>
internal sealed record PhaseResult
{
    public long Reads { get; init; }
    public long Writes { get; init; }
    public long Flushes { get; init; }
    public long Discards { get; init; }
    public long Bytes { get; init; }
    public long Verified { get; init; }
    public long Errors { get; init; }
    public long WrongSectors { get; init; }
    public string? Problem { get; init; }
    public double Seconds { get; init; }
    public long P50Ns { get; init; }
    public long P99Ns { get; init; }
    public long P999Ns { get; init; }

    public long Operations => Reads + Writes + Flushes + Discards;
    public bool IsRight => Problem is null && Errors == 0 && WrongSectors == 0;

    public static PhaseResult From(WorkloadResult result) => new()
    {
        Reads = result.Reads,
        Writes = result.Writes,
        Flushes = result.Flushes,
        Discards = result.Discards,
        Bytes = result.Bytes,
        Verified = result.Verified,
        Errors = result.Errors,
        WrongSectors = result.WrongSectors,
        Problem = result.FirstProblem,
        Seconds = result.Seconds,
        P50Ns = result.LatencyNs.ValueAt(0.5),
        P99Ns = result.LatencyNs.ValueAt(0.99),
        P999Ns = result.LatencyNs.ValueAt(0.999),
    };
}

/// <summary>
/// The guest's side of the demo, wherever it runs: one memory of what every sector should hold, and, for each ABI in turn, a domain with a
/// frontend. What was written through one ABI is thus read back through the next.
/// </summary>
internal sealed class Guest : IDisposable
{
    private readonly GuestOptions _options;
    private readonly ImageBaseline? _baseline;
    private readonly SectorModel _model;
    private LoopbackDomain? _domain;
    private VerifiedWorkload? _workload;
    private ulong _attachments;

    public Guest(GuestOptions options)
    {
        _options = options;
        if (options.Baseline is { } path) _baseline = new ImageBaseline(path);
        _model = new SectorModel(options.Sectors, options.Seed) { Baseline = _baseline is null ? null : _baseline.TryRead };
    }

    /// <summary>Requests answered since <see cref="Attach"/>; for any thread.</summary>
    public long Completed => Volatile.Read(ref _workload)?.Completed ?? 0;

    public Frontend Attach(BlkifProtocol protocol, int ringPages)
    {
        _domain = Frontend.CreateDomain(new DomainId(1), ringPages);
        Frontend frontend = Frontend.Create(_domain, protocol, ringPages);
        Volatile.Write(ref _workload, new VerifiedWorkload(frontend, new WorkloadOptions
        {
            Sectors = _options.Sectors,
            Model = _model,
            ReadOnly = _options.ReadOnly,
            Discard = _options.Discard,
            DiscardZeroes = _options.DiscardZeroes,
            Seed = _options.Seed + ++_attachments,
        }));
        return frontend;
    }

    public PhaseResult Run(int depth, double seconds) => PhaseResult.From(Attached.Run(depth, TimeSpan.FromSeconds(seconds)));

    public PhaseResult Sweep() => PhaseResult.From(Attached.Sweep());

    /// <summary>The backend must have let go of the ring.</summary>
    public void Detach()
    {
        Volatile.Write(ref _workload, null);
        _domain?.Dispose();
        _domain = null;
    }

    public void Dispose()
    {
        Detach();
        _baseline?.Dispose();
    }

    private VerifiedWorkload Attached => _workload ?? throw new InvalidOperationException("no frontend is attached");
}
