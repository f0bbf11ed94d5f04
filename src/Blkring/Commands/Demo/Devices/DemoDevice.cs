using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Demo.Options;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;

namespace Blkring.Commands.Demo.Devices;

/// <summary>
/// The backend's side: a disk that is served with given features to one guest. The rows of the table, or one side of a
/// comparison, are measured on it.
/// </summary>
internal sealed class DemoDevice : IDisposable
{
    /// <summary>
    /// The warm-up: the first requests make the runtime compile methods and load types, also on the reactors' threads.
    /// That is not a cost of requests.
    /// </summary>
    private const double WarmUpSeconds = 0.25;
    private const int WarmUpOperations = 2_000;
    private const int WarmUpRounds = 6;

    /// <summary>
    /// The disk must hold this many of the longest requests per ring, or requests would wait for each other.
    /// </summary>
    private const int LeastRequestsPerRing = 4;

    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(10);

    private readonly DemoOptions _options;
    private readonly DemoFeatures _features;
    private readonly bool _long;
    private readonly Throttle? _throttle;
    private readonly ReactorPool _reactors;
    private GuestLink? _guest;
    private Vbd? _vbd;

    /// <param name="longRequests">Whether the guest sends only requests as long as it can make them.</param>
    /// <exception cref="UsageException">The options ask for what this machine or disk cannot do.</exception>
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

    /// <summary>The number of sectors of the disk that are used.</summary>
    public long Sectors { get; }
    public string Engine { get; }

    /// <summary>The requests answered since the connection, for a progress line. From any thread.</summary>
    public long Completed => Volatile.Read(ref _guest)?.Completed ?? 0;

    /// <exception cref="GuestLostException">The guest's process did not start.</exception>
    public void StartGuest(Interruption interruption)
    {
        GuestOptions guest = new()
        {
            Sectors = Sectors,
            RingPages = _options.RingPages,
            Rings = _features.Queues,
            Segments = _features.Segments,
            PersistentGrants = _features.Grants == GrantMode.Persistent,
            // On a 4Kn disk, requests in flight may share a block: they test the backend's read-modify-write.
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
                // Room for all of the guest's pages, or those of long requests would evict each other.
                MaxPersistentGrants = DemoOptions.EntriesOf(_options.RingPages) * _features.Segments,
                Throttle = _throttle,
            }
        );
        Guest.Connect(_vbd, protocol);
    }

    /// <returns>The phase that went wrong; null if none did.</returns>
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

    /// <summary>Measures one run, within the device's limits.</summary>
    public DemoMeasurement Measure(int depth, double seconds)
    {
        _throttle?.Limits = new ThrottleLimits { Iops = _features.Iops, BytesPerSecond = _features.BytesPerSecond };
        // Start with an empty nursery, so that a collection during the run was caused by it.
        GC.Collect();
        long allocated = AllocatedBytes;
        int collections = GC.CollectionCount(0);
        PhaseResult result = Guest.Run(depth, seconds);
        DemoMeasurement measurement = new(result, AllocatedBytes - allocated, GC.CollectionCount(0) - collections);
        // The limits need not slow down what follows: reading everything back.
        _throttle?.Limits = new ThrottleLimits();
        return measurement;
    }

    public PhaseResult ReadBack() => Guest.Sweep();

    /// <summary>Stops serving and waits for the requests in flight, even if the guest is lost.</summary>
    /// <returns>False if some are still in flight after <see cref="StopSeconds"/>.</returns>
    public bool Stop() => _vbd is null || _vbd.Stop(s_stopTimeout);

    public static double StopSeconds => s_stopTimeout.TotalSeconds;

    /// <summary>Takes the frontend away; the device must be stopped.</summary>
    public void Detach() => Guest.Detach();

    /// <summary>Takes the faults that the queues reported, one line each.</summary>
    public IEnumerable<string> TakeFaults()
    {
        foreach (VbdQueue queue in _vbd?.Queues ?? [])
        {
            while (queue.Faults.TryRead(out Fault fault))
            {
                string suppressed = fault.Suppressed > 0 ? $" ({fault.Suppressed} faults before it left out)" : "";
                yield return $"{fault.Kind}: {fault.Describe()}{suppressed}";
            }
        }
    }

    private long AllocatedBytes => _reactors.Reactors.Sum(reactor => reactor.AllocatedBytes);

    private GuestLink Guest => _guest ?? throw new InvalidOperationException("the guest was not started");

    /// <summary>Starts the pool's first thread, which says how I/O is done and stays for the queues.</summary>
    private string StartReactor()
    {
        Reactor reactor = _reactors.Take();
        _reactors.Release(reactor);
        string description = reactor.Describe();
        if (_options.Io == IoEngine.IoUring && !reactor.UsesIoUring)
            throw new UsageException($"io_uring is not available ({description}): use --io auto or --io sync");
        return description;
    }

    private void CheckLength()
    {
        long least =
            (long)LeastRequestsPerRing * _features.Queues * _features.Segments * RequestValidator.SectorsPerPage;
        if (Sectors >= least)
            return;
        throw new UsageException(
            $"the disk has {Sectors} sectors, at least {least} are needed for {_features.Queues} queue(s) with "
                + $"requests of {_features.Segments} pages: use a larger image, "
                + "or fewer --queues or --indirect segments"
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

/// <summary>The result of a run, and the memory that the data path allocated during it.</summary>
internal sealed record DemoMeasurement(PhaseResult Result, long AllocatedBytes, int Collections);
