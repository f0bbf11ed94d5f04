using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Tests.Kit;

/// <summary>
/// A device connected to a loopback frontend and served by a reactor, as in production except for the hypervisor.
/// </summary>
public sealed class Device : IDisposable
{
    private readonly bool _ownsDisk;

    public Device(
        Reactor reactor,
        BlkifProtocol protocol,
        Disk disk,
        int ringPages = 1,
        VbdOptions? options = null,
        bool ownsDisk = true,
        ushort domain = 7,
        int segments = Abi.Blkif.MaxSegmentsPerRequest,
        int rings = 1
    )
    {
        _ownsDisk = ownsDisk;
        Domain = Frontend.CreateDomain(new DomainId(domain), ringPages, rings: rings, segments: segments);
        Frontends =
        [
            .. Enumerable.Range(0, rings).Select(_ => Frontend.Create(Domain, protocol, ringPages, segments: segments)),
        ];
        foreach (Frontend frontend in Frontends)
            frontend.PersistentGrants = options?.GrantMode == GrantMode.Persistent;
        Vbd = new Vbd(disk, reactor, options);
        Vbd.Connect(
            Frontend.Connection with
            {
                Rings = [.. Frontends.Select(frontend => frontend.Connection.Rings[0])],
            },
            new LoopbackHypervisor(Domain)
        );
    }

    public LoopbackDomain Domain { get; }

    /// <summary>One for each ring.</summary>
    public IReadOnlyList<Frontend> Frontends { get; }
    public Frontend Frontend => Frontends[0];
    public Vbd Vbd { get; }
    public VbdQueue Queue => Vbd.Queue ?? throw new InvalidOperationException("the device is not connected");

    /// <summary>A verified workload on the first sectors of the disk, and a sweep over what it touched.</summary>
    public WorkloadResult Work(
        TimeSpan duration,
        int depth = 16,
        long sectors = 4096,
        ulong seed = 1,
        int blockSectors = RequestValidator.SectorsPerPage
    )
    {
        SectorModel model = new(sectors, seed);
        VerifiedWorkload workload = new(
            Frontend,
            new WorkloadOptions
            {
                Sectors = sectors,
                Model = model,
                Seed = seed,
                BlockSectors = blockSectors,
                DiscardZeroes = Vbd.Disk.DiscardZeroes,
                SilenceMs = Wait.LimitMs,
            }
        );
        WorkloadResult result = workload.Run(depth, duration);
        return result.IsRight && workload.Sweep() is { IsRight: false } sweep ? sweep : result;
    }

    public void Dispose()
    {
        if (!Vbd.Stop(Wait.Limit))
        {
            // A thread still uses the memory.
            Violations.Report("the device did not stop");
            return;
        }
        Domain.Dispose();
        if (_ownsDisk)
            Vbd.Disk.Dispose();
    }
}
