using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xenbus;
using Blkring.Loopback;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>A host: the store, the toolstack, the backend under test, and guests without a hypervisor.</summary>
internal sealed class World : IDisposable
{
    private static int s_nextDomain;

    private readonly Xenstored _xenstored;
    private readonly TempDirectory _directory = new();
    private readonly List<Guest> _guests = [];
    private readonly IReactors? _reactors;
    private Lifeline _life = new();

    public World(Xenstored xenstored, BackendOptions? options = null, bool start = true, IReactors? reactors = null)
    {
        _xenstored = xenstored;
        Store = xenstored.Connect();
        // Remove what an earlier test left behind.
        Store.Remove("/local/domain");
        Toolstack = new Toolstack(() => Store);
        Options = options ?? new BackendOptions();
        _reactors = reactors;
        if (start)
            StartBackend();
    }

    public const long Sectors = 2048;

    public BackendOptions Options { get; set; }
    public Toolstack Toolstack { get; }
    public LoopbackHypervisor Hypervisor { get; } = new();
    public Reactor Reactor { get; private set; } = new();
    public IReactors Reactors => _reactors ?? Reactor;
    public TestLog Log { get; } = new();
    public XenbusBackend Backend { get; private set; } = null!;

    public IXenstore Store { get; private set; }

    /// <summary>The toolstack's and the guests' connection, after the store was restarted.</summary>
    public void ReconnectStore()
    {
        Store.Dispose();
        Store = _xenstored.Connect();
    }

    public void StartBackend()
    {
        _life = new Lifeline();
        Backend = new XenbusBackend(Options, _xenstored.Connect, Hypervisor, Reactors, Log, _life.Runtime);
        Backend.Start();
    }

    /// <summary>
    /// Ends the backend as a kill does: it answers nothing any more and changes no key and no journal, and the kernel
    /// takes back its event channels. Its memory stays mapped until the process ends.
    /// </summary>
    public void KillBackend()
    {
        Reactor.Dispose();
        _life.Cut();
        foreach (Guest guest in _guests)
        foreach (LoopbackChannel channel in guest.Domain.Channels)
            channel.Unbind();
        Reactor = new Reactor();
    }

    public void RestartBackend()
    {
        Assert.True(Backend.Stop(Wait.Limit));
        StartBackend();
    }

    /// <summary>A new device: no two tests use the same domain, so that none sees what another left behind.</summary>
    public static DeviceId NewId(int number = 51712) =>
        new(new DomainId((ushort)(1 + (Interlocked.Increment(ref s_nextDomain) % 30000))), number);

    /// <summary>A world whose backend keeps journals, in <see cref="JournalFolder"/>.</summary>
    /// <param name="change">Further options.</param>
    public static World WithJournals(Xenstored xenstored, Func<BackendOptions, BackendOptions>? change = null)
    {
        World world = new(xenstored, start: false);
        BackendOptions options = new() { JournalFolder = world.JournalFolder };
        world.Options = change is null ? options : change(options);
        world.StartBackend();
        return world;
    }

    public string JournalFolder => _directory.PathOf("journals");

    public string NewImage(string name = "disk.img", long sectors = Sectors)
    {
        string path = _directory.PathOf(name);
        using FileStream file = File.Create(path);
        file.SetLength(sectors * Disk.SectorBytes);
        return path;
    }

    /// <summary>A guest whose device the toolstack has attached.</summary>
    public Guest Attach(
        DiskRequest? disk = null,
        BlkifProtocol protocol = BlkifProtocol.X86_64,
        int ringPages = 1,
        int rings = 1,
        DeviceId? id = null
    )
    {
        Guest guest = NewGuest(protocol, ringPages, rings, id);
        Toolstack.Attach(
            guest.Id,
            disk ?? new DiskRequest { Params = "aio:" + NewImage($"disk-{guest.Id.Frontend}.img") }
        );
        return guest;
    }

    public Guest NewGuest(
        BlkifProtocol protocol = BlkifProtocol.X86_64,
        int ringPages = 1,
        int rings = 1,
        DeviceId? id = null,
        int spare = 3
    )
    {
        Guest guest = new(() => Store, Hypervisor, id ?? NewId(), protocol, ringPages, rings, spare);
        _guests.Add(guest);
        return guest;
    }

    public Guest Connected(
        DiskRequest? disk = null,
        BlkifProtocol protocol = BlkifProtocol.X86_64,
        int ringPages = 1,
        int rings = 1
    )
    {
        Guest guest = Attach(disk, protocol, ringPages, rings);
        guest.Connect(Toolstack);
        return guest;
    }

    public DeviceStatus? Status(DeviceId id) => Backend.Devices.FirstOrDefault(device => device.Id == id);

    public void WaitUntilGone(DeviceId id) => Wait.Until(() => Status(id) is null, $"device {id} is forgotten");

    public void Dispose()
    {
        Backend?.Dispose();
        Reactor.Dispose();
        foreach (Guest guest in _guests)
            guest.Dispose();
        Store.Dispose();
        _directory.Dispose();
    }
}
