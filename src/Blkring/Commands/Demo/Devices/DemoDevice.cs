using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;

namespace Blkring.Commands.Demo;

/// <summary>
/// A disk served in one way to a guest of its own: what the table's rows, or one side of a comparison, are measured on.
/// </summary>
internal sealed class DemoDevice : IDisposable
{
    /// <summary>
    /// The first requests make the runtime compile and load types, on the reactors' threads too: that is no cost of a
    /// request.
    /// </summary>
    private const double WarmUpSeconds = 0.25;
    private const int WarmUpOperations = 2_000;
    private const int WarmUpRounds = 6;

    /// <summary>Below this many of the longest requests a ring, they would mostly wait for each other.</summary>
    private const int LeastRequestsPerRing = 4;

    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(10);

    private readonly DemoOptions _options;
    private readonly DemoFeatures _features;
    private readonly bool _long;
    private readonly Throttle? _throttle;
    private readonly ReactorPool _reactors;
    private GuestLink? _guest;
    private Vbd? _vbd;

    /// <param name="longRequests">The guest posts nothing but requests as long as it can make them.</param>
    /// <exception cref="UsageException">What was asked for cannot be.</exception>
    /// <exception cref="ImageException">The image cannot be served.</exception>
    public DemoDevice(DemoOptions options, DemoFeatures features, bool longRequests, Interruption interruption)
    {
        (_options, _features, _long) = (options, features, longRequests);
        _throttle = features.IsLimited ? new Throttle() : null;
        _reactors = new ReactorPool(
            new ReactorPoolOptions
            {
                Threads = features.Threads,
                Reactor = new ReactorOptions
                {
                    UseIoUring = options.Io != IoEngine.Sync,
                    PollWindow = TimeSpan.FromMicroseconds(features.PollWindowUs),
                },
            }
        );
        try
        {
            Engine = StartReactor();
            Disk = DemoDisk.Open(options, features.SectorBytes, interruption);
            Sectors = Math.Min(Disk.CapacitySectors, DemoDisk.MaxSectors);
            CheckLength();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Disk Disk { get; }

    /// <summary>How many of the disk's are used.</summary>
    public long Sectors { get; }
    public string Engine { get; }

    /// <summary>Requests answered since the connection; for any thread, and for people only.</summary>
    public long Completed => Volatile.Read(ref _guest)?.Completed ?? 0;

    /// <exception cref="GuestLostException">The guest's process did not come up.</exception>
    public void StartGuest(Interruption interruption)
    {
        GuestOptions guest = new()
        {
            Sectors = Sectors,
            RingPages = _options.RingPages,
            Rings = _features.Queues,
            Segments = _features.Segments,
            PersistentGrants = _features.Grants == GrantMode.Persistent,
            // Requests may share a block of a 4Kn disk: that their parts do not disturb each other is what is to be
            // seen.
            BlockSectors = Disk.AlignmentBytes > Disk.SectorBytes ? 1 : RequestValidator.SectorsPerPage,
            LongRequests = _long,
            Seed = _options.Seed,
            ReadOnly = Disk.ReadOnly,
            Discard = Disk.DiscardSupported,
            DiscardZeroes = Disk.DiscardZeroes,
            Baseline = _options.Image is null ? null : Path.GetFullPath(_options.Image),
        };
        Volatile.Write(
            ref _guest,
            _options.Processes == 2 ? RemoteGuest.Start(guest, interruption) : new LocalGuest(guest)
        );
    }

    public void Connect(BlkifProtocol protocol)
    {
        _vbd = new Vbd(
            Disk,
            _reactors,
            new VbdOptions
            {
                ReadOnly = Disk.ReadOnly,
                MaxIndirectSegments = _features.Indirect,
                GrantMode = _features.Grants,
                // All that the guest has, or those of long requests would put each other out.
                MaxPersistentGrants = DemoOptions.EntriesOf(_options.RingPages) * _features.Segments,
                Throttle = _throttle,
            }
        );
        Guest.Connect(_vbd, protocol);
    }

    /// <returns>What was wrong; null when nothing was.</returns>
    public PhaseResult? WarmUp(int depth)
    {
        long operations = 0;
        for (int round = 0; round < WarmUpRounds && operations < WarmUpOperations; round++)
        {
            PhaseResult result = Guest.Run(depth, WarmUpSeconds);
            operations += result.Operations;
            if (!result.IsRight)
                return result;
        }
        return null;
    }

    /// <summary>One measured run, within the device's limits.</summary>
    public DemoMeasurement Measure(int depth, double seconds)
    {
        _throttle?.Limits = new ThrottleLimits { Iops = _features.Iops, BytesPerSecond = _features.BytesPerSecond };
        // From an empty nursery, so that a collection in a run is the run's.
        GC.Collect();
        long allocated = AllocatedBytes;
        int collections = GC.CollectionCount(0);
        PhaseResult result = Guest.Run(depth, seconds);
        DemoMeasurement measurement = new(result, AllocatedBytes - allocated, GC.CollectionCount(0) - collections);
        // Reading everything back need not keep to them.
        _throttle?.Limits = new ThrottleLimits();
        return measurement;
    }

    public PhaseResult ReadBack() => Guest.Sweep();

    /// <summary>Also when the guest is lost: what it left in flight is waited for.</summary>
    /// <returns>False when the disk still holds requests after <see cref="StopSeconds"/>.</returns>
    public bool Stop() => _vbd is null || _vbd.Stop(s_stopTimeout);

    public static double StopSeconds => s_stopTimeout.TotalSeconds;

    /// <summary>Takes the frontend away; the device must be stopped.</summary>
    public void Detach() => Guest.Detach();

    /// <summary>What the queues reported, a line each.</summary>
    public IEnumerable<string> TakeFaults()
    {
        foreach (VbdQueue queue in _vbd?.Queues ?? [])
        {
            while (queue.Faults.TryRead(out Fault fault))
            {
                string suppressed = fault.Suppressed > 0 ? $" ({fault.Suppressed} more before it)" : "";
                yield return $"{fault.Kind}: {fault.Describe()}{suppressed}";
            }
        }
    }

    private long AllocatedBytes => _reactors.Reactors.Sum(reactor => reactor.AllocatedBytes);

    private GuestLink Guest => _guest ?? throw new InvalidOperationException("the guest was not started");

    /// <summary>The pool's first thread, which says how I/O is done, and stays for the queues to come.</summary>
    private string StartReactor()
    {
        Reactor reactor = _reactors.Take();
        _reactors.Release(reactor);
        string description = reactor.Describe();
        if (_options.Io == IoEngine.IoUring && !reactor.UsesIoUring)
            throw new UsageException($"--io io_uring cannot be had ({description}): use --io auto or --io sync");
        return description;
    }

    private void CheckLength()
    {
        long least =
            (long)LeastRequestsPerRing * _features.Queues * _features.Segments * RequestValidator.SectorsPerPage;
        if (Sectors >= least)
            return;
        throw new UsageException(
            $"the disk has {Sectors} sectors, {least} are needed for {_features.Queues} queue(s) of requests of {_features.Segments} pages: "
                + "use a larger image, or fewer --queues or --indirect segments"
        );
    }

    public void Dispose()
    {
        _guest?.Dispose();
        _reactors.Dispose();
        // Null when opening it failed.
        Disk?.Dispose();
    }
}

/// <summary>A run, and what it cost the data path.</summary>
internal sealed record DemoMeasurement(PhaseResult Result, long AllocatedBytes, int Collections);
