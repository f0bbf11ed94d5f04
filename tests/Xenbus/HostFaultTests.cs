using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Loopback;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// The host fails a guest that is running: its device waits, Connected, until the cause is gone or an operator decides.
/// </summary>
public sealed class HostFaultTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    [Fact]
    public void A_takeover_without_the_image_waits_until_the_image_is_back()
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = "aio:" + image }, rings: 2);
        guest.VerifyIo(20);
        Assert.True(world.Backend.Stop(Wait.Limit));
        File.Move(image, image + ".away");
        world.StartBackend();
        DeviceStatus waiting = AwaitWait(world, guest, ErrorCode.ImageMissing);
        Assert.False(waiting.NeedsDecision);
        // Any event tries it again.
        for (int i = 0; i < 3; i++)
            guest.SetState(XenbusState.Connected);
        Thread.Sleep(300);
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        Assert.Single(world.Log.Lines, line => line.Contains("[ImageMissing]", StringComparison.Ordinal));
        Assert.Null(world.Toolstack.Error(guest.Id));

        File.Move(image + ".away", image);
        AwaitService(world, guest);
        guest.VerifyIo(20);
    }

    /// <summary>
    /// <c>BLKRING_AWAY_GUESTS=100 BLKRING_AWAY_SECONDS=60</c> takes the images of so many guests away, each for up to
    /// so long.
    /// </summary>
    [Fact]
    public void However_long_an_image_is_away_at_a_takeover_its_guest_goes_on()
    {
        int guests = Setting("BLKRING_AWAY_GUESTS", 8),
            seconds = Setting("BLKRING_AWAY_SECONDS", 1);
        using World world = new(xenstored);
        (Guest Guest, string Image)[] all =
        [
            .. Enumerable
                .Range(0, guests)
                .Select(number =>
                {
                    string image = world.NewImage($"away-{number}.img");
                    return (world.Connected(new DiskRequest { Params = "aio:" + image }), image);
                }),
        ];
        foreach ((Guest guest, _) in all)
            guest.VerifyIo(5);
        Assert.True(world.Backend.Stop(Wait.Limit));
        foreach ((_, string image) in all)
            File.Move(image, image + ".away");
        world.StartBackend();
        Parallel.ForEach(
            all,
            new ParallelOptions { MaxDegreeOfParallelism = guests },
            one =>
            {
                // From 1 second, or less if less is asked for, to all of them.
                double away = Math.Min(1, seconds * 0.5) + (Random.Shared.NextDouble() * (seconds - 0.5));
                Thread.Sleep(TimeSpan.FromSeconds(Math.Min(away, seconds)));
                AwaitWait(world, one.Guest, ErrorCode.ImageMissing);
                File.Move(one.Image + ".away", one.Image);
                AwaitService(world, one.Guest);
            }
        );
        foreach ((Guest guest, _) in all)
            guest.VerifyIo(5);

        static int Setting(string name, int otherwise) =>
            Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
                ? int.Parse(text, System.Globalization.CultureInfo.InvariantCulture)
                : otherwise;
    }

    [Theory]
    [InlineData(Errno.EIO)]
    [InlineData(Errno.EMFILE)]
    [InlineData(Errno.EPERM)]
    [InlineData(Errno.ENXIO)]
    public void Whatever_keeps_an_image_from_being_opened_at_a_takeover_the_guest_waits(int errno)
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        int left = 3;
        world.Options = new BackendOptions
        {
            OpenImage = (path, options) =>
                Interlocked.Decrement(ref left) >= 0
                    ? throw ImageException.CannotOpen(path, errno)
                    : FileDisk.Open(path, options),
        };
        world.StartBackend();
        AwaitService(world, guest);
        Assert.True(left < 0);
        Assert.Single(world.Log.Lines, line => line.Contains("the guest waits", StringComparison.Ordinal));
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_bug_of_ours_at_a_takeover_costs_the_guest_no_disk()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        int left = 1;
        world.Options = new BackendOptions
        {
            OpenImage = (path, options) =>
                Interlocked.Decrement(ref left) >= 0
                    ? throw new InvalidOperationException("a bug")
                    : FileDisk.Open(path, options),
        };
        world.StartBackend();
        AwaitService(world, guest);
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_guest_that_waits_can_close_and_the_toolstack_can_detach_its_device()
    {
        using World world = new(xenstored);
        string image = world.NewImage(),
            other = world.NewImage("other.img");
        Guest closing = world.Connected(new DiskRequest { Params = image }),
            detached = world.Connected(new DiskRequest { Params = other });
        Assert.True(world.Backend.Stop(Wait.Limit));
        File.Delete(image);
        File.Delete(other);
        world.StartBackend();
        AwaitWait(world, closing, ErrorCode.ImageMissing);
        AwaitWait(world, detached, ErrorCode.ImageMissing);
        closing.Frontend.Put(Requests.Of(closing.Frontend, 0, Blkring.Abi.Blkif.OpRead, 0, Requests.Pages(1)));
        closing.Frontend.Push();
        closing.SetState(XenbusState.Closing);
        world.Toolstack.WaitFor(closing.Id, XenbusState.Closing);
        // A driver closes only when it has its responses.
        Assert.Equal(Blkring.Abi.Blkif.RspError, Assert.Single(Wait.ForResponses(closing.Frontend, 1)).Status);
        closing.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(closing.Id, XenbusState.Closed);
        world.Toolstack.Detach(detached.Id);
        detached.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(detached.Id, XenbusState.Closed);
        Assert.Null(world.Status(detached.Id)?.LastError);
    }

    [Fact]
    public void A_wrong_key_of_the_frontend_still_closes_the_device_at_a_takeover()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        world.Store.Write(guest.Path + "/event-channel", "none");
        world.StartBackend();
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
    }

    [Fact]
    public void Another_image_under_the_same_path_waits_for_the_operator_or_for_the_image_to_come_back()
    {
        using World world = World.WithJournals(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = "aio:" + image });
        guest.VerifyIo(20);
        Assert.True(world.Backend.Stop(Wait.Limit));
        File.Move(image, image + ".before");
        File.Copy(image + ".before", image);
        world.StartBackend();
        DeviceStatus waiting = AwaitWait(world, guest, ErrorCode.ImageReplaced);
        Assert.True(waiting.NeedsDecision);
        Assert.Contains(image, waiting.LastError, StringComparison.Ordinal);

        File.Move(image, image + ".copy");
        File.Move(image + ".before", image);
        AwaitService(world, guest);
        guest.VerifyIo(20);

        Assert.True(world.Backend.Stop(Wait.Limit));
        File.Copy(image, image + ".copy", overwrite: true);
        File.Move(image + ".copy", image, overwrite: true);
        world.StartBackend();
        AwaitWait(world, guest, ErrorCode.ImageReplaced);
        Assert.Equal(
            ErrorCode.NothingToDecide,
            Assert.Throws<XenbusCommandException>(() => world.Backend.Continue(world.Connected().Id)).Code
        );
        world.Backend.Continue(guest.Id);
        AwaitService(world, guest);
        guest.VerifyIo(20);
        // The decision is kept: this image is the guest's from now on.
        world.RestartBackend();
        AwaitService(world, guest);
    }

    [Fact]
    public void An_image_that_grew_is_the_same_and_one_that_was_cut_is_not()
    {
        using World world = World.WithJournals(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = "aio:" + image });
        SetLength(image, 2 * World.Sectors);
        world.RestartBackend();
        AwaitService(world, guest);
        Assert.True(world.Backend.Stop(Wait.Limit));
        SetLength(image, World.Sectors);
        world.StartBackend();
        AwaitWait(world, guest, ErrorCode.ImageReplaced);
    }

    [Fact]
    public void A_medium_of_a_drive_may_be_another_one_after_a_restart()
    {
        using World world = World.WithJournals(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = image,
                DeviceType = "cdrom",
                Mode = "r",
            }
        );
        Assert.True(world.Backend.Stop(Wait.Limit));
        File.Copy(image, image + ".copy");
        File.Move(image + ".copy", image, overwrite: true);
        world.StartBackend();
        AwaitService(world, guest);
    }

    [Fact]
    public void Requests_without_a_response_and_without_a_journal_wait_for_the_operator()
    {
        using World world = World.WithJournals(xenstored);
        Guest guest = world.Connected();
        guest.VerifyIo(20);
        Assert.True(world.Backend.Stop(Wait.Limit));
        // Posted while there is no daemon: the next one cannot know that it was not taken before.
        guest.Frontend.Put(Requests.Of(guest.Frontend, 0, Blkring.Abi.Blkif.OpRead, 0, Requests.Pages(1)));
        guest.Frontend.Push();
        Directory.Delete(world.JournalFolder, recursive: true);
        world.StartBackend();
        DeviceStatus waiting = AwaitWait(world, guest, ErrorCode.JournalMissing);
        Assert.True(waiting.NeedsDecision);
        Assert.False(world.Status(guest.Id)!.IsConnected);
        world.Backend.Continue(guest.Id);
        AwaitService(world, guest);
        Assert.Single(Wait.ForResponses(guest.Frontend, 1));
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_journal_is_not_missed_where_no_request_can_be_under_way()
    {
        using World world = World.WithJournals(xenstored);
        Guest idle = world.Connected(),
            silent = world.Connected();
        idle.VerifyIo(20);
        Assert.True(world.Backend.Stop(Wait.Limit));
        // Nothing of this ring was ever answered, so all of it is done in its order.
        silent.Frontend.Put(Requests.Of(silent.Frontend, 0, Blkring.Abi.Blkif.OpRead, 0, Requests.Pages(1)));
        silent.Frontend.Push();
        Directory.Delete(world.JournalFolder, recursive: true);
        world.StartBackend();
        AwaitService(world, idle);
        AwaitService(world, silent);
        Assert.Single(Wait.ForResponses(silent.Frontend, 1));
        idle.VerifyIo(20);
    }

    [Fact]
    public void A_journal_that_cannot_be_opened_waits_until_it_can()
    {
        using World world = World.WithJournals(xenstored);
        Guest guest = world.Connected();
        guest.VerifyIo(20);
        Assert.True(world.Backend.Stop(Wait.Limit));
        string journal = Assert.Single(
            Directory.GetFiles(world.JournalFolder),
            file => file.EndsWith("-0", StringComparison.Ordinal)
        );
        File.Move(journal, journal + ".kept");
        // A link to itself cannot be opened, and one rename puts the journal back: after the first of two steps it
        // would be missing.
        File.CreateSymbolicLink(journal, journal);
        world.StartBackend();
        AwaitWait(world, guest, ErrorCode.JournalUnusable);
        File.Move(journal + ".kept", journal, overwrite: true);
        AwaitService(world, guest);
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_disk_that_is_full_makes_its_guest_wait_until_there_is_room()
    {
        FullDisk.Errno = 0;
        using World world = World.WithJournals(
            xenstored,
            options => options with { OpenImage = (_, _) => new WrappedDisk<FullDisk>(World.Sectors) }
        );
        Guest guest = world.Connected(rings: 2),
            detached = world.Connected();
        guest.VerifyIo(20);
        FullDisk.Errno = Errno.ENOSPC;
        foreach (Frontend frontend in (Frontend[])[.. guest.Frontends, detached.Frontend])
        {
            frontend.Put(Requests.Of(frontend, 0, Blkring.Abi.Blkif.OpWrite, 0, Requests.Pages(1)));
            frontend.Push();
        }
        Wait.Until(
            () => world.Status(guest.Id)?.Error?.Code == ErrorCode.DiskLost,
            () => $"the loss is told: {world.Status(guest.Id)?.Error}"
        );
        // Taken over and lost again, some times.
        Thread.Sleep(1500);
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        Assert.Single(
            world.Log.Lines,
            line =>
                line.Contains($"device {guest.Id}:", StringComparison.Ordinal)
                && line.Contains("ENOSPC", StringComparison.Ordinal)
        );
        Assert.All(guest.Frontends, frontend => Assert.False(frontend.FinalCheckForResponses()));

        // Whoever detaches does not wait: a driver closes only when it has its responses.
        world.Toolstack.Detach(detached.Id);
        detached.SetState(XenbusState.Closing);
        Assert.Equal(Blkring.Abi.Blkif.RspError, Assert.Single(Wait.ForResponses(detached.Frontend, 1)).Status);
        detached.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(detached.Id, XenbusState.Closed);
        FullDisk.Errno = 0;
        Assert.All(
            guest.Frontends,
            frontend => Assert.Equal(Blkring.Abi.Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status)
        );
        AwaitService(world, guest);
    }

    [Fact]
    public void A_full_disk_is_an_error_to_the_guest_where_the_policy_says_so()
    {
        FullDisk.Errno = Errno.ENOSPC;
        using World world = World.WithJournals(
            xenstored,
            options =>
                options with
                {
                    OpenImage = (_, _) => new WrappedDisk<FullDisk>(World.Sectors),
                    Device = _ => new DeviceOptions { LostDisk = LostDiskPolicy.Error },
                }
        );
        Guest guest = world.Connected();
        guest.Frontend.Put(Requests.Of(guest.Frontend, 0, Blkring.Abi.Blkif.OpWrite, 0, Requests.Pages(1)));
        guest.Frontend.Push();
        Assert.Equal(Blkring.Abi.Blkif.RspError, Assert.Single(Wait.ForResponses(guest.Frontend, 1)).Status);
        Assert.Null(world.Status(guest.Id)!.Error);
    }

    /// <summary>Refuses all with one errno while that is not 0.</summary>
    private readonly struct FullDisk : ITwist
    {
        public static volatile int Errno;

        public static unsafe int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state) =>
            Errno != 0 ? -Errno : disk.Start(in operation);
    }

    private static DeviceStatus AwaitWait(World world, Guest guest, ErrorCode code)
    {
        Wait.Until(
            () => world.Status(guest.Id) is { IsWaiting: true, Error: { } error } && error.Code == code,
            () => $"the device waits with {code}: {world.Status(guest.Id)?.Error}"
        );
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        return world.Status(guest.Id)!;
    }

    private static void AwaitService(World world, Guest guest) =>
        Wait.Until(
            () => world.Status(guest.Id) is { IsConnected: true, IsWaiting: false, Error: null },
            () => $"the device is served again: {world.Status(guest.Id)?.Error}"
        );

    private static void SetLength(string image, long sectors)
    {
        using FileStream file = new(image, FileMode.Open);
        file.SetLength(sectors * Disk.SectorBytes);
    }
}
