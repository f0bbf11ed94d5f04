using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Load;

/// <summary>A domain with one ring, its disk, and its load.</summary>
internal class LoadedGuest : IDisposable
{
    private readonly LoopbackDomain _domain;
    private readonly GuestLoadOptions _options;

    /// <param name="disk">Owned from here on.</param>
    /// <param name="reactor">Null: nobody serves the ring.</param>
    public LoadedGuest(Disk disk, Reactor? reactor, ushort domain, GuestLoadOptions options, int ringPages = 1)
    {
        (Disk, _options) = (disk, options);
        int segments = Math.Max(options.Pages, Blkif.MaxSegmentsPerRequest);
        _domain = Frontend.CreateDomain(new DomainId(domain), ringPages, segments: segments);
        Frontend = Frontend.Create(_domain, BlkifProtocol.X86_64, ringPages, segments: segments);
        if (reactor is null)
            return;
        Vbd = new Vbd(disk, reactor);
        Vbd.Connect(Frontend.Connection, new LoopbackHypervisor(_domain));
    }

    protected Disk Disk { get; }
    protected Frontend Frontend { get; }

    /// <summary>Null if nobody serves the ring.</summary>
    protected Vbd? Vbd { get; }

    /// <returns>A load that has not begun.</returns>
    public GuestLoad NewLoad() => new(Frontend, Disk.CapacitySectors, _options);

    public LatencyHistogram Run(double seconds) => Run(seconds, out _);

    /// <param name="answered">The number of requests answered.</param>
    public LatencyHistogram Run(double seconds, out long answered)
    {
        LatencyHistogram latency = new();
        answered = NewLoad().Run(seconds, latency);
        return latency;
    }

    public virtual void Dispose()
    {
        Vbd?.Dispose();
        _domain.Dispose();
        Disk.Dispose();
    }

    /// <summary>Ends the backend's use of a page of the guest.</summary>
    protected void Revoke(GrantReference reference) => _domain.Revoke(reference);
}
