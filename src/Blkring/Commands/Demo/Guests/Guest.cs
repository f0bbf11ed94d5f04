using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Loopback;

namespace Blkring.Commands.Demo;

/// <summary>What a guest needs to know of the disk it is about to test, and how it is to do so.</summary>
internal sealed record GuestOptions
{
    public long Sectors { get; init; }
    public int RingPages { get; init; } = 1;

    /// <summary>Rings of the device; each has a part of the disk, and a thread.</summary>
    public int Rings { get; init; } = 1;

    /// <summary>Of the longest request; more than 11 are for INDIRECT.</summary>
    public int Segments { get; init; }
    public bool PersistentGrants { get; init; }
    public int BlockSectors { get; init; }

    /// <summary>See <see cref="WorkloadOptions.LongRequests"/>.</summary>
    public bool LongRequests { get; init; }
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

    public static PhaseResult From(WorkloadResult result) =>
        new()
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
/// The guest's side of the demo, wherever it runs: one memory of what every sector should hold, and, for each ABI in
/// turn, a domain with a frontend for each ring. What was written through one ABI is thus read back through the next.
/// </summary>
internal sealed class Guest : IDisposable
{
    private readonly GuestOptions _options;
    private readonly Part[] _parts;
    private LoopbackDomain? _domain;
    private VerifiedWorkload[] _workloads = [];
    private ulong _attachments;

    /// <summary>A ring's part of the disk. It has a thread of its own, so it shares nothing with the others.</summary>
    private sealed record Part(SectorModel Model, ImageBaseline? Baseline);

    public Guest(GuestOptions options)
    {
        _options = options;
        // Whole pages, so that no two rings meet in a block of the disk.
        long sectors =
            options.Sectors / options.Rings / RequestValidator.SectorsPerPage * RequestValidator.SectorsPerPage;
        if (options.Rings == 1)
            sectors = options.Sectors;
        _parts = [.. Enumerable.Range(0, options.Rings).Select(ring => CreatePart(options, ring * sectors, sectors))];
    }

    private static Part CreatePart(GuestOptions options, long first, long sectors)
    {
        ImageBaseline? baseline = options.Baseline is { } path ? new ImageBaseline(path) : null;
        return new Part(
            new SectorModel(sectors, options.Seed)
            {
                FirstSector = first,
                Baseline = baseline is null ? null : baseline.TryRead,
            },
            baseline
        );
    }

    /// <summary>Requests answered since <see cref="Attach"/>; for any thread.</summary>
    public long Completed
    {
        get
        {
            // No LINQ: a progress line asks during a run that is watched for collections.
            long completed = 0;
            foreach (VerifiedWorkload workload in Volatile.Read(ref _workloads))
                completed += workload.Completed;
            return completed;
        }
    }

    /// <summary>A frontend for each ring, all of one domain.</summary>
    public IReadOnlyList<Frontend> Attach(BlkifProtocol protocol)
    {
        _domain = Frontend.CreateDomain(
            new DomainId(1),
            _options.RingPages,
            rings: _options.Rings,
            segments: _options.Segments
        );
        Frontend[] frontends = new Frontend[_parts.Length];
        VerifiedWorkload[] workloads = new VerifiedWorkload[_parts.Length];
        for (int ring = 0; ring < _parts.Length; ring++)
        {
            frontends[ring] = Frontend.Create(_domain, protocol, _options.RingPages, segments: _options.Segments);
            frontends[ring].PersistentGrants = _options.PersistentGrants;
            workloads[ring] = new VerifiedWorkload(frontends[ring], WorkloadOf(_parts[ring].Model));
        }
        Volatile.Write(ref _workloads, workloads);
        return frontends;
    }

    private WorkloadOptions WorkloadOf(SectorModel model) =>
        new()
        {
            Sectors = model.Sectors,
            FirstSector = model.FirstSector,
            Model = model,
            BlockSectors = _options.BlockSectors,
            LongRequests = _options.LongRequests,
            ReadOnly = _options.ReadOnly,
            Barrier = _options.Rings == 1,
            Discard = _options.Discard,
            DiscardZeroes = _options.DiscardZeroes,
            Seed = _options.Seed + ++_attachments,
        };

    public PhaseResult Run(int depth, double seconds) =>
        OnAllRings(workload => workload.Run(depth, TimeSpan.FromSeconds(seconds)));

    public PhaseResult Sweep() => OnAllRings(workload => workload.Sweep());

    /// <summary>
    /// The first ring is this thread's; the others have one each, as a guest's rings have a virtual CPU each.
    /// </summary>
    private PhaseResult OnAllRings(Func<VerifiedWorkload, WorkloadResult> phase)
    {
        if (_workloads.Length == 0)
            throw new InvalidOperationException("no frontend is attached");
        Task<WorkloadResult>[] others =
        [
            .. _workloads
                .Skip(1)
                .Select(workload =>
                    Task.Factory.StartNew(
                        () => phase(workload),
                        CancellationToken.None,
                        TaskCreationOptions.LongRunning,
                        TaskScheduler.Default
                    )
                ),
        ];
        WorkloadResult result = phase(_workloads[0]);
        foreach (Task<WorkloadResult> other in others)
            result.Add(other.GetAwaiter().GetResult());
        return PhaseResult.From(result);
    }

    /// <summary>The backend must have let go of the rings.</summary>
    public void Detach()
    {
        Volatile.Write(ref _workloads, []);
        _domain?.Dispose();
        _domain = null;
    }

    public void Dispose()
    {
        Detach();
        foreach (Part part in _parts)
            part.Baseline?.Dispose();
    }
}
