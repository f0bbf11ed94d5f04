using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// The handshake, key by key, compared with that of QEMU's qdisk. qdisk-handshake.txt has the recording, and the reason
/// for each difference.
/// </summary>
public sealed class HandshakeTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    /// <param name="Writer">qdisk, both, or blkring.</param>
    /// <param name="By">The state before which the key must be written.</param>
    private sealed record Row(string Key, string Writer, XenbusState By, string Value);

    private static readonly string[] s_ofTheToolstack =
    [
        "frontend",
        "params",
        "script",
        "frontend-id",
        "online",
        "removable",
        "bootable",
        "state",
        "dev",
        "type",
        "mode",
        "device-type",
        "discard-enable",
        "specification",
    ];

    private static Row[] Recorded =>
        [
            .. File.ReadLines(Repository.PathOf("tests/Xenbus/qdisk-handshake.txt"))
                .Where(line => line.Length > 0 && line[0] != '#')
                .Select(line => line.Split((char[]?)null, 5, StringSplitOptions.RemoveEmptyEntries))
                .Select(words => new Row(words[0], words[1], Enum.Parse<XenbusState>(words[2]), words[3])),
        ];

    [Fact]
    [Proves("F12")]
    public void Every_key_is_one_that_qdisk_writes_or_one_with_a_reason()
    {
        using World world = new(xenstored, new BackendOptions { Directory = "qdisk" });
        Guest guest = world.Attach(
            new DiskRequest
            {
                Params = "aio:" + world.NewImage(),
                Directory = "qdisk",
                Type = "qdisk",
                Script = null,
            }
        );
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait, "qdisk");
        AssertKeys(world, guest, XenbusState.InitWait);
        guest.Publish();
        world.Toolstack.WaitFor(guest.Id, XenbusState.Connected, "qdisk");
        AssertKeys(world, guest, XenbusState.Connected);
    }

    [Fact]
    public void Hotplug_status_is_the_scripts_to_write_where_there_is_one()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.Null(world.Toolstack.Read(guest.Id, "hotplug-status"));
    }

    /// <summary>Configured, direct-io-safe; offered, and how the ring is then served.</summary>
    [Theory]
    [InlineData(GrantMode.Copy, null, false)]
    [InlineData(GrantMode.Map, null, false)]
    [InlineData(GrantMode.Persistent, null, true)]
    [InlineData(GrantMode.Persistent, "1", true)]
    [InlineData(GrantMode.Persistent, "0", false)]
    [Proves("F7")]
    public void Persistent_grants_are_offered_where_they_are_used(GrantMode mode, string? directIoSafe, bool offered)
    {
        using World world = new(xenstored, new BackendOptions { Device = _ => new DeviceOptions { GrantMode = mode } });
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = world.NewImage(),
                Changes = new Dictionary<string, string?> { ["direct-io-safe"] = directIoSafe },
            }
        );
        Assert.Equal(offered ? "1" : null, world.Toolstack.Read(guest.Id, "feature-persistent"));
        guest.VerifyIo(30);
        world.RestartBackend();
        guest.VerifyIo(30);
    }

    /// <summary>A drive may get another medium, which is opened anew.</summary>
    [Theory]
    [
        InlineData(CacheMode.Writeback, false),
        InlineData(CacheMode.Writethrough, false),
        InlineData(CacheMode.None, false),
        InlineData(CacheMode.Writeback, true)
    ]
    public void Left_to_us_pages_that_the_kernel_would_hold_for_the_disk_are_copied(CacheMode cache, bool removable)
    {
        using World world = new(
            xenstored,
            new BackendOptions { Device = _ => new DeviceOptions { GrantMode = null, Cache = cache } }
        );
        string image = world.NewImage();
        bool pins;
        using (FileDisk disk = FileDisk.Open(image, new FileDiskOptions { Cache = cache }))
            pins = disk.PinsPages;
        Assert.True(cache == CacheMode.None || !pins);
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = image,
                Changes = new Dictionary<string, string?> { ["removable"] = removable ? "1" : "0" },
            }
        );
        Assert.Equal(pins || removable ? null : "1", world.Toolstack.Read(guest.Id, "feature-persistent"));
        guest.VerifyIo(30);
    }

    /// <summary>
    /// Whether the backend is a PV domain, whether a mode was configured, and which mode is expected.
    /// </summary>
    [Theory]
    [
        InlineData(GrantMode.Persistent, CacheMode.None, null, true),
        InlineData(GrantMode.Map, CacheMode.None, null, true)
    ]
    [InlineData(GrantMode.Copy, CacheMode.None, null, false), InlineData(null, CacheMode.None, null, false)]
    [InlineData(GrantMode.Persistent, CacheMode.Writeback, null, false)]
    [InlineData(GrantMode.Persistent, CacheMode.None, "0", false)]
    public void Where_the_kernel_would_lose_pinned_pages_they_are_copied_and_who_asked_otherwise_is_told(
        GrantMode? mode,
        CacheMode cache,
        string? directIoSafe,
        bool told
    )
    {
        using World world = new(
            xenstored,
            new BackendOptions { Device = _ => new DeviceOptions { GrantMode = mode, Cache = cache } }
        );
        world.Hypervisor.LosesPinnedPages = true;
        string image = world.NewImage();
        bool pins;
        using (FileDisk disk = FileDisk.Open(image, new FileDiskOptions { Cache = cache }))
            pins = disk.PinsPages;
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = image,
                Changes = new Dictionary<string, string?> { ["direct-io-safe"] = directIoSafe },
            }
        );
        bool persistent = mode is null or GrantMode.Persistent;
        Assert.Equal(
            persistent && !pins && directIoSafe is null ? "1" : null,
            world.Toolstack.Read(guest.Id, "feature-persistent")
        );
        guest.VerifyIo(30);
        // The backend logs after it has written the state; once it has stopped, every line is there.
        Assert.True(world.Backend.Stop(Wait.Limit));
        Assert.Equal(
            told && pins,
            world.Log.Lines.Any(line =>
                line.StartsWith("Warning", StringComparison.Ordinal)
                && line.Contains("[GrantModeIgnored]", StringComparison.Ordinal)
            )
        );
    }

    /// <summary>A takeover cannot wait for reads of a daemon that was killed: its lock is shared, or off.</summary>
    [Theory]
    [InlineData("r", CacheMode.None, true)]
    [InlineData("w!", CacheMode.None, true)]
    [InlineData("w", CacheMode.None, false)]
    [InlineData("r", CacheMode.Writeback, false)]
    public void What_is_read_only_or_shared_is_never_read_directly_into_pages_of_the_guest(
        string mode,
        CacheMode cache,
        bool told
    )
    {
        using World world = new(
            xenstored,
            new BackendOptions { Device = _ => new DeviceOptions { GrantMode = GrantMode.Persistent, Cache = cache } }
        );
        string image = world.NewImage();
        bool pins;
        using (FileDisk disk = FileDisk.Open(image, new FileDiskOptions { Cache = cache }))
            pins = disk.PinsPages;
        Guest guest = world.Connected(new DiskRequest { Params = image, Mode = mode });
        Assert.Equal(told && pins ? null : "1", world.Toolstack.Read(guest.Id, "feature-persistent"));
        Assert.True(world.Backend.Stop(Wait.Limit));
        Assert.Equal(
            told && pins,
            world.Log.Lines.Any(line => line.Contains("without a lock of its own", StringComparison.Ordinal))
        );
    }

    [Fact]
    public void A_daemon_that_takes_a_device_over_writes_nothing_that_is_there_already()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        using IXenstore watcher = xenstored.Connect();
        watcher.Watch(Toolstack.BackendPath(guest.Id), "t");
        Wait.Until(() => watcher.CheckWatch(out _, out _), "the watch's first event");
        world.StartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        guest.VerifyIo(20);
        Assert.False(watcher.CheckWatch(out string path, out _), path);
    }

    private static void AssertKeys(World world, Guest guest, XenbusState state)
    {
        Row[] expected = [.. Recorded.Where(row => row.Writer != "qdisk" && row.By <= state)];
        IEnumerable<string> present = world
            .Store.Directory(Toolstack.BackendPath(guest.Id, "qdisk"))!
            .Except(s_ofTheToolstack);
        Assert.Equal(
            expected.Select(row => row.Key).Order(StringComparer.Ordinal),
            present.Order(StringComparer.Ordinal)
        );
        Assert.All(
            expected.Where(row => row.Value != "*"),
            row => Assert.Equal((row.Key, row.Value), (row.Key, world.Toolstack.Read(guest.Id, row.Key, "qdisk")))
        );
    }
}
