using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Loopback;

namespace Blkring.Commands.Demo.Guests;

/// <summary>The disk that a guest tests, and how.</summary>
internal sealed record GuestOptions
{
    public long Sectors { get; init; }
    public int RingPages { get; init; } = 1;

    /// <summary>The number of rings; each has a part of the disk, and a thread.</summary>
    public int Rings { get; init; } = 1;

    /// <summary>The number of segments of the longest request; more than 11 make it INDIRECT.</summary>
    public int Segments { get; init; }
    public bool PersistentGrants { get; init; }
    public int BlockSectors { get; init; }

    /// <summary>See <see cref="WorkloadOptions.LongRequests"/>.</summary>
    public bool LongRequests { get; init; }
    public ulong Seed { get; init; }
    public bool ReadOnly { get; init; }
    public bool Discard { get; init; }
    public bool DiscardZeroes { get; init; }

    /// <summary>The image with which sectors that were never written are compared; null if they hold zeros.</summary>
    public string? Baseline { get; init; }
}

/// <summary>The result of one phase of the workload, as the guest saw it.</summary>
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
/// The guest's side of the demo, in either process. It remembers what every sector should hold and has, for each ABI in
/// turn, a domain with one frontend per ring. So data written through one ABI is read back through the next.
/// </summary>
internal sealed class Guest : IDisposable
{
    private readonly GuestOptions _options;
    private readonly Part[] _parts;
    private LoopbackDomain? _domain;
    private VerifiedWorkload[] _workloads = [];
    private ulong _attachments;

    /// <summary>One ring's part of the disk. Each ring has a thread of its own, so the parts share nothing.</summary>
    private sealed record Part(SectorModel Model, ImageBaseline? Baseline);

    public Guest(GuestOptions options)
    {
        _options = options;
        // Whole pages, so that no two rings share a block of the disk.
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

    /// <summary>The requests answered since <see cref="Attach"/>. From any thread.</summary>
    public long Completed
    {
        get
        {
            // No LINQ: a progress line asks during a run in which collections are counted.
            long completed = 0;
            foreach (VerifiedWorkload workload in Volatile.Read(ref _workloads))
                completed += workload.Completed;
            return completed;
        }
    }

    /// <summary>Makes a domain with one frontend per ring.</summary>
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
    /// Runs a phase on the first ring with this thread, and on the others with one thread each, as each ring of a real
    /// guest has a virtual CPU.
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

    /// <summary>Destroys the domain. The backend must have let go of the rings.</summary>
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
