using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;
using Blkring.Engine.Xenbus;
using Blkring.Loopback;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>
/// A guest's end of one device: the frontend area in the store, and rings with real I/O in a loopback domain.
/// </summary>
internal sealed class Guest : IDisposable
{
    private readonly Func<IXenstore> _connection;
    private readonly LoopbackHypervisor _hypervisor;
    private readonly BlkifProtocol _protocol;
    private readonly int _ringPages,
        _rings;

    /// <param name="spare">The number of times it can make new rings.</param>
    public Guest(
        Func<IXenstore> connection,
        LoopbackHypervisor hypervisor,
        DeviceId id,
        BlkifProtocol protocol = BlkifProtocol.X86_64,
        int ringPages = 1,
        int rings = 1,
        int spare = 2
    )
    {
        (_connection, _hypervisor, Id, _protocol, _ringPages, _rings) = (
            connection,
            hypervisor,
            id,
            protocol,
            ringPages,
            rings
        );
        Domain = Frontend.CreateDomain(id.Frontend, ringPages, rings: rings * (1 + spare));
        hypervisor.Add(Domain);
        MakeRings();
    }

    private IXenstore Store => _connection();

    public DeviceId Id { get; }
    public LoopbackDomain Domain { get; }
    public IReadOnlyList<Frontend> Frontends { get; private set; } = [];
    public Frontend Frontend => Frontends[0];
    public string Path => Toolstack.FrontendPath(Id);

    /// <summary>New rings and channels, as a driver makes them each time it connects.</summary>
    public void MakeRings() =>
        Frontends = [.. Enumerable.Range(0, _rings).Select(_ => Frontend.Create(Domain, _protocol, _ringPages))];

    /// <summary>What a driver writes, in blkfront's way: one transaction, then the state.</summary>
    public void Publish(
        IReadOnlyDictionary<string, string?>? changes = null,
        XenbusState state = XenbusState.Initialised
    )
    {
        Dictionary<string, string?> keys = Keys();
        foreach ((string key, string? value) in changes ?? new Dictionary<string, string?>())
            keys[key] = value;
        Store.Transact(transaction =>
        {
            foreach ((string key, string? value) in keys)
            {
                if (value is null)
                    Store.Remove($"{Path}/{key}", transaction);
                else
                    Store.Write($"{Path}/{key}", value, transaction);
            }
            return true;
        });
        SetState(state);
    }

    public Dictionary<string, string?> Keys()
    {
        Dictionary<string, string?> keys = new()
        {
            ["protocol"] = Frontend.Connection.Protocol,
            ["feature-persistent"] = "1",
        };
        if (_ringPages > 1)
            keys["ring-page-order"] = int.Log2(_ringPages).ToString(CultureInfo.InvariantCulture);
        if (_rings > 1)
            keys["multi-queue-num-queues"] = _rings.ToString(CultureInfo.InvariantCulture);
        for (int queue = 0; queue < _rings; queue++)
        {
            string folder = _rings > 1 ? $"queue-{queue}/" : "";
            VbdRing ring = Frontends[queue].Connection.Rings[0];
            keys[folder + "event-channel"] = ring.EventChannel.ToString();
            for (int page = 0; page < _ringPages; page++)
                keys[folder + (_ringPages > 1 ? $"ring-ref{page}" : "ring-ref")] = ring.References[page].ToString();
        }
        return keys;
    }

    public void SetState(XenbusState state) => Store.Write(Path + "/state", XenbusStates.Format(state));

    /// <summary>The driver's whole way to a connected device.</summary>
    public void Connect(Toolstack toolstack)
    {
        toolstack.WaitFor(Id, XenbusState.InitWait);
        // A driver always announces persistent grants, and uses them if they were offered.
        foreach (Frontend frontend in Frontends)
            frontend.PersistentGrants = toolstack.Read(Id, "feature-persistent") == "1";
        Publish();
        toolstack.WaitFor(Id, XenbusState.Connected);
        SetState(XenbusState.Connected);
    }

    /// <summary>Posts one READ, and does not wait for it.</summary>
    public unsafe void PutRead(ulong id = 0, ulong sector = 0, int ring = 0)
    {
        Frontend frontend = Frontends[ring];
        Blkif.DecodedRequest request = new()
        {
            Operation = Blkif.OpRead,
            NrSegments = 1,
            Id = id,
            SectorNumber = sector,
        };
        request.Seg[0].Gref = frontend.GrantOf(0, 0, readOnly: false).Value;
        frontend.Put(in request);
        frontend.Push();
    }

    /// <summary>Posts a FLUSH, and does not wait for it.</summary>
    public void PutFlush()
    {
        Frontend.Put(new Blkif.DecodedRequest { Operation = Blkif.OpFlushDiskcache });
        Frontend.Push();
    }

    /// <summary>What the disk should hold after all connections of this guest.</summary>
    public SectorModel Model { get; set; } = new(World.Sectors, seed: 1);

    /// <summary>Reads and writes in a mix on every ring for a short time, then compares all of it.</summary>
    public long VerifyIo(int milliseconds = 100)
    {
        long operations = 0;
        foreach (Frontend frontend in Frontends)
        {
            VerifiedWorkload workload = NewWorkload(frontend);
            operations += Right(workload.Run(8, TimeSpan.FromMilliseconds(milliseconds))) + Right(workload.Sweep());
        }
        Assert.True(operations > 0);
        return operations;
    }

    public VerifiedWorkload NewWorkload(Frontend frontend) =>
        new(
            frontend,
            new WorkloadOptions
            {
                Sectors = Model.Sectors,
                Model = Model,
                Barrier = Frontends.Count == 1,
            }
        );

    public static long Right(WorkloadResult result)
    {
        Assert.True(
            result.IsRight,
            result.FirstProblem ?? $"{result.Errors} errors, {result.WrongSectors} wrong sectors"
        );
        return result.Operations;
    }

    public bool AnyMapped =>
        Frontends.Any(frontend => frontend.RingReferences.Any(Domain.IsMapped))
        || Domain.Channels.Any(channel => channel.IsBound);

    public void Dispose()
    {
        _hypervisor.Remove(Domain);
        Domain.Dispose();
    }
}
