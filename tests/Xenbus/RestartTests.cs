using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xenbus;
using Blkring.Loopback;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>The daemon, or the store, goes away and comes back while guests are at work.</summary>
public sealed class RestartTests : IDisposable
{
    // Not shared with other classes, because the tests kill it.
    private readonly Xenstored _xenstored = new();

    public void Dispose() => _xenstored.Dispose();

    [Theory]
    [InlineData(1, 1)]
    [InlineData(4, 2)]
    [Proves("F20")]
    public async Task A_guest_notices_a_restart_of_the_daemon_only_as_a_pause(int ringPages, int rings)
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected(ringPages: ringPages, rings: rings);
        using CancellationTokenSource enough = new();
        Task load = Task.Run(() => LoadUntil(guest, enough.Token), CancellationToken.None);
        for (int round = 0; round < 3; round++)
        {
            Assert.True(world.Backend.Stop(Wait.Limit));
            Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
            Assert.False(guest.AnyMapped);
            world.StartBackend();
            Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        }
        await enough.CancelAsync();
        await load;
        Guest.Right(guest.NewWorkload(guest.Frontend).Sweep());
    }

    [Fact]
    public void A_device_that_was_only_published_is_published_by_the_next_daemon_too()
    {
        using World world = new(_xenstored);
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        world.RestartBackend();
        guest.Connect(world.Toolstack);
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_journal_is_there_while_its_ring_may_be_taken_over_and_no_longer()
    {
        using World world = World.WithJournals(_xenstored);
        string folder = world.JournalFolder;
        Guest guest = world.Connected(rings: 2);
        guest.VerifyIo(20);
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(folder)
        );
        // Two rings, and which image they are served from.
        Assert.Equal(3, JournalsIn(folder).Length);
        world.RestartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        guest.VerifyIo(20);
        // Two rings, and which image they are served from.
        Assert.Equal(3, JournalsIn(folder).Length);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.Empty(Directory.GetFiles(folder));
    }

    [Fact]
    public void Journals_of_devices_that_are_gone_go_at_the_start_and_others_stay()
    {
        using World world = World.WithJournals(_xenstored);
        string folder = world.JournalFolder;
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        string own = Assert.Single(Directory.GetFiles(folder, "*-0")),
            image = Assert.Single(Directory.GetFiles(folder, "*-image"));
        string[] others =
        [
            Path.Combine(folder, $"backend-vbd3-4-{guest.Id.Frontend}-51712-0"),
            Path.Combine(folder, $"backend-vbd3-4-{guest.Id.Frontend}-51712-0.new"),
            Path.Combine(folder, "notes.txt"),
        ];
        // The second: a daemon was killed while it brought the journal of an older version into its own form.
        string[] stale = [Path.Combine(folder, "backend-vbd3-30001-51712-0"), own + ".new"];
        foreach (string file in (string[])[.. others, own + "1", .. stale])
            File.WriteAllText(file, "");

        // A backend for one domain leaves the journals of other domains alone.
        world.Options = new BackendOptions { JournalFolder = folder, Frontend = World.NewId().Frontend };
        world.RestartBackend();
        Assert.Equal(others.Length + 3 + stale.Length, JournalsIn(folder).Length);
        world.Options = new BackendOptions { JournalFolder = folder };
        world.RestartBackend();
        // Journals of all rings of the device are deleted. Files that name no device of this directory stay.
        Assert.Equal(
            ((string[])[.. others, own, own + "1", image]).Order(StringComparer.Ordinal),
            JournalsIn(folder).Order(StringComparer.Ordinal)
        );

        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        File.WriteAllText(own + ".new", "");
        File.WriteAllText(image + ".new", "");
        world.Store.Remove(Toolstack.BackendPath(guest.Id));
        world.WaitUntilGone(guest.Id);
        Assert.Equal(others.Order(StringComparer.Ordinal), JournalsIn(folder).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_one_daemon_offered_the_next_one_keeps_to_whatever_its_options_say()
    {
        using World world = new(_xenstored, new BackendOptions { Device = _ => new DeviceOptions { MaxQueues = 4 } });
        Guest guest = world.Connected(ringPages: 4, rings: 2),
            closed = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        world.Options = new BackendOptions
        {
            Device = _ => new DeviceOptions
            {
                MaxQueues = 1,
                MaxRingPageOrder = 0,
                MaxIndirectSegments = 0,
            },
        };
        world.StartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        guest.VerifyIo(20);

        // The new options apply from the next handshake on.
        closed.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(closed.Id, XenbusState.Closed);
        closed.MakeRings();
        closed.SetState(XenbusState.Initialising);
        world.Toolstack.WaitFor(closed.Id, XenbusState.InitWait);
        Assert.Equal(
            ("1", "0", null),
            (
                world.Toolstack.Read(closed.Id, "multi-queue-max-queues"),
                world.Toolstack.Read(closed.Id, "max-ring-page-order"),
                world.Toolstack.Read(closed.Id, "feature-max-indirect-segments")
            )
        );
    }

    [Fact]
    public void What_happened_while_there_was_no_daemon_is_made_up_for()
    {
        using World world = new(_xenstored);
        Guest closed = world.Connected(),
            detached = world.Connected(),
            destroyed = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        closed.SetState(XenbusState.Closed);
        world.Toolstack.Detach(detached.Id);
        world.Toolstack.RemoveFrontend(destroyed.Id);
        world.StartBackend();
        world.Toolstack.WaitFor(closed.Id, XenbusState.Closed);
        world.Toolstack.WaitFor(detached.Id, XenbusState.Closed);
        world.Toolstack.WaitFor(destroyed.Id, XenbusState.Closed);
        Assert.Empty(world.Log.Errors);
    }

    [Fact]
    public void An_image_that_grew_while_there_was_no_daemon_is_told_to_the_guest()
    {
        using World world = new(_xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = image });
        Assert.True(world.Backend.Stop(Wait.Limit));
        using (FileStream file = new(image, FileMode.Open))
            file.SetLength(2 * World.Sectors * Disk.SectorBytes);
        world.StartBackend();
        Wait.Until(() => world.Toolstack.Read(guest.Id, "sectors") == "4096", "the new length is there");
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
    }

    [Fact]
    public async Task Data_flows_on_while_the_store_is_away_and_a_store_that_kept_its_content_is_taken_up_again()
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected(),
            waiting = world.Attach();
        world.Toolstack.WaitFor(waiting.Id, XenbusState.InitWait);
        VbdQueue queue = world.Status(guest.Id)!.Queues[0];
        List<(string Path, string Value)> content = Dump(world.Store, "/local");
        using CancellationTokenSource enough = new();
        Task load = Task.Run(() => LoadUntil(guest, enough.Token), CancellationToken.None);

        _xenstored.Kill();
        Wait.Until(() => !world.Backend.HasStore, "the loss is noticed");
        Assert.True(world.Backend.IsHealthy);
        long answered = queue.Statistics.Answered;
        Wait.Until(() => queue.Statistics.Answered > answered + 100, "requests are answered without a store");
        Assert.Contains(
            "xenstore is away",
            Assert.Throws<XenbusCommandException>(() => world.Backend.Resize(guest.Id, null)).Message,
            StringComparison.Ordinal
        );

        _xenstored.StartAgain(store => content.ForEach(entry => store.Write(entry.Path, entry.Value)));
        Wait.Until(() => world.Backend.HasStore, "the store is found again");
        world.ReconnectStore();
        waiting.Connect(world.Toolstack);
        waiting.VerifyIo(20);
        await enough.CancelAsync();
        await load;
        Assert.Same(queue, world.Status(guest.Id)!.Queues[0]);
        world.Toolstack.Detach(guest.Id);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.Single(world.Log.Lines, line => line.Contains("xenstore is away", StringComparison.Ordinal));
    }

    [Fact]
    public void A_store_that_came_back_empty_takes_no_disk_away_and_keys_that_come_back_are_followed()
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected(),
            other = world.Connected();
        List<(string Path, string Value)> content = Dump(world.Store, "/local");
        _xenstored.Kill();
        Wait.Until(() => !world.Backend.HasStore, "the loss is noticed");
        _xenstored.StartAgain();
        Wait.Until(
            () => world.Status(guest.Id) is { IsOrphan: true } && world.Status(other.Id) is { IsOrphan: true },
            "nobody removed them"
        );
        guest.VerifyIo(50);
        world.ReconnectStore();

        // One guest's keys are restored; the other guest is new.
        foreach (
            (string path, string value) in content.Where(entry =>
                entry.Path.Contains($"/{guest.Id.Frontend}/", StringComparison.Ordinal)
            )
        )
            world.Store.Write(path, value);
        Wait.Until(() => world.Status(guest.Id) is { IsOrphan: false, IsConnected: true }, "it has keys again");
        guest.VerifyIo(50);
        // From then on the removal of the keys removes the device.
        world.Store.Remove(Toolstack.BackendPath(guest.Id));
        world.WaitUntilGone(guest.Id);
        Assert.False(guest.AnyMapped);
        other.MakeRings();
        world.Toolstack.Attach(other.Id, new DiskRequest { Params = world.NewImage() });
        other.Connect(world.Toolstack);
        other.Model = new(World.Sectors, 3);
        other.VerifyIo(50);
    }

    [Fact]
    public void A_new_guest_in_an_emptied_store_takes_no_disk_from_those_that_run_however_often_it_is_restarted()
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected();
        for (int restart = 0; restart < 2; restart++)
        {
            _xenstored.Kill();
            Wait.Until(() => !world.Backend.HasStore, "the loss is noticed");
            DeviceId other = World.NewId();
            string image = world.NewImage($"new-{restart}.img");
            _xenstored.StartAgain(store =>
                new Toolstack(() => store).Attach(other, new DiskRequest { Params = "aio:" + image })
            );
            world.ReconnectStore();
            world.Toolstack.WaitFor(other, XenbusState.InitWait);
            Wait.Until(() => world.Status(guest.Id) is null or { IsOrphan: true }, "nobody removed it");
            guest.VerifyIo(20);
        }
        Assert.Single(
            world.Log.Lines,
            line => line.Contains($"device {guest.Id}: the store has lost its keys", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void A_device_that_was_removed_while_the_store_was_restarted_is_let_go()
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected(),
            stays = world.Connected();
        List<(string Path, string Value)> content = Dump(world.Store, "/local");
        _xenstored.Kill();
        _xenstored.StartAgain(store =>
        {
            foreach ((string path, string value) in content)
                if (!path.Contains($"/{guest.Id.Frontend}/", StringComparison.Ordinal))
                    store.Write(path, value);
        });
        world.ReconnectStore();
        world.WaitUntilGone(guest.Id);
        Assert.False(guest.AnyMapped);
        stays.VerifyIo(20);
    }

    [Fact]
    public void Without_a_store_the_start_says_what_to_do()
    {
        _xenstored.Kill();
        using Reactor reactor = new();
        using XenbusBackend backend = new(
            new BackendOptions(),
            _xenstored.Connect,
            new LoopbackHypervisor(),
            reactor,
            new TestLog()
        );
        XenstoreException error = Assert.Throws<XenstoreException>(backend.Start);
        Assert.Contains("start xenstored", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void A_daemon_that_is_stopped_twice_or_never_started_does_not_mind()
    {
        using World world = new(_xenstored);
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        Assert.True(world.Backend.Stop(Wait.Limit));
        world.Backend.Dispose();
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
    }

    /// <summary>Without what says of an open image whether writes are lost.</summary>
    private static string[] JournalsIn(string folder) =>
        [
            .. Directory
                .GetFiles(folder)
                .Where(file => !Path.GetFileName(file).StartsWith("lost-writes-", StringComparison.Ordinal)),
        ];

    private static void LoadUntil(Guest guest, CancellationToken enough)
    {
        VerifiedWorkload workload = guest.NewWorkload(guest.Frontend);
        do Guest.Right(workload.Run(16, TimeSpan.FromMilliseconds(50)));
        while (!enough.IsCancellationRequested);
    }

    private static List<(string Path, string Value)> Dump(IXenstore store, string root)
    {
        List<(string Path, string Value)> content = [];
        Take(root);
        return content;

        void Take(string path)
        {
            content.Add((path, store.Read(path) ?? ""));
            foreach (string name in store.Directory(path) ?? [])
                Take($"{path}/{name}");
        }
    }
}
