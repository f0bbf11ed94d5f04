using System.Runtime.CompilerServices;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// Keys that a hostile guest or a broken toolstack writes: one device fails, with a reason and one log line, and can be
/// used again.
/// </summary>
public sealed class HostileKeyTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private static readonly string s_long = new('x', 3900);

    /// <summary>Keys of a frontend, one or more of them bad, and a word that the reason must contain.</summary>
    public static TheoryData<string, string?, string> BadFrontendKeys =>
        new()
        {
            { "ring-ref", null, "ring-ref is missing" },
            { "ring-ref", "-1", "not a number" },
            { "ring-ref", "1099511627776", "not a number" },
            { "ring-ref", "text", "not a number" },
            { "ring-ref", "", "not a number" },
            { "ring-ref", " 8", "not a number" },
            { "ring-ref", "0x8", "not a number" },
            { "ring-ref", "LONG", "not a number" },
            { "ring-ref", "4294967295", "cannot be mapped" },
            { "ring-ref", "7", "cannot be mapped" },
            { "event-channel", null, "event-channel is missing" },
            { "event-channel", "-1", "not a number" },
            { "event-channel", "1099511627776", "not a number" },
            { "event-channel", "text", "not a number" },
            { "event-channel", "0", "event-channel is 0" },
            { "event-channel", "99", "cannot be bound" },
            { "ring-page-order", "31", "0 to 4 are served" },
            { "ring-page-order", "5", "0 to 4 are served" },
            { "ring-page-order", "-1", "not a number" },
            { "ring-page-order", "1099511627776", "not a number" },
            { "ring-page-order", "text", "not a number" },
            { "ring-page-order", "2", "ring-ref0 is missing" },
            { "num-ring-pages", "0", "1 to 16 are served" },
            { "num-ring-pages", "17", "1 to 16 are served" },
            { "num-ring-pages", "3", "not a power of two" },
            { "num-ring-pages", "4", "ring-ref0 is missing" },
            { "multi-queue-num-queues", "0", "1 to 4 are served" },
            { "multi-queue-num-queues", "1000000", "1 to 4 are served" },
            { "multi-queue-num-queues", "-1", "not a number" },
            { "multi-queue-num-queues", "text", "not a number" },
            { "multi-queue-num-queues", "2", "queue-0/ring-ref is missing" },
            { "protocol", "x86_48-abi", "x86_48-abi" },
            { "protocol", "", "is unknown" },
            { "protocol", "LONG", "is unknown" },
            { "protocol", "a\nb", "'a?b' is unknown" },
        };

    [Theory]
    [MemberData(nameof(BadFrontendKeys))]
    public void A_bad_key_of_a_frontend_closes_its_device_and_a_good_one_opens_it(
        string key,
        string? value,
        string reason
    )
    {
        using World world = new(xenstored, new BackendOptions { Device = _ => new DeviceOptions { MaxQueues = 4 } });
        Guest other = world.Connected(),
            guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        guest.Publish(new Dictionary<string, string?> { [key] = value == "LONG" ? s_long : value });
        AssertFailed(world, guest, reason);
        other.VerifyIo(20);

        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
        world.Store.Remove($"{guest.Path}/{key}");
        guest.SetState(XenbusState.Initialising);
        guest.Connect(world.Toolstack);
        guest.VerifyIo(20);
        Wait.Until(
            () => world.Toolstack.Error(guest.Id) is null && world.Toolstack.Read(guest.Id, "hotplug-error") is null,
            "the reason goes with its cause"
        );
        Assert.Null(world.Status(guest.Id)!.LastError);
        Assert.Single(world.Log.Errors);
    }

    /// <summary>Keys of a backend area that a toolstack got wrong.</summary>
    public static TheoryData<string, string?, string> BadBackendKeys =>
        new()
        {
            { "frontend", null, "frontend is missing" },
            { "frontend", "/local/domain/0/device/vbd/51712", "not below /local/domain/" },
            { "frontend", "/tool/xenstored", "not below /local/domain/" },
            { "frontend", "relative/path", "not below /local/domain/" },
            { "frontend", "LONG", "not below /local/domain/" },
            { "frontend", "", "not below /local/domain/" },
            { "frontend", "HOME", "not below /local/domain/" },
            { "frontend", "HOME/device/vbd/", "not a path of xenstore" },
            { "frontend", "HOME//device", "not a path of xenstore" },
            { "frontend", "HOME/../0/device", "not a path of xenstore" },
            { "frontend", "HOME/device:vbd", "not a path of xenstore" },
            { "frontend", "HOME/LONG", "not a path of xenstore" },
            { "frontend-id", "32000", "the area belongs to domain" },
            { "frontend-id", "text", "the area belongs to domain" },
            { "params", null, "names no image" },
            { "params", "", "names no image" },
            { "params", "aio:", "names no image" },
            { "params", "aio:relative.img", "the absolute path" },
            { "params", "relative.img", "are served" },
            { "params", "LONG", "are served" },
            { "params", "aio:/LONG", "ENAMETOOLONG" },
            { "params", "aio:/images/a\0b", "cannot contain a zero byte" },
            { "params", "vhd:/images/a.vhd", "qemu-img convert -O raw" },
            { "params", "qcow2:/images/a.qcow2", "qemu-img convert -O raw" },
            { "params", "nbd:/run/a.sock", "are served" },
            { "params", "aio:/nonexistent/disk.img", "does not exist" },
            { "params", "/proc", "is a folder" },
            { "physical-device", "text", "major:minor" },
            { "physical-device", "8", "major:minor" },
            { "physical-device", "fff:fffff", "does not exist: check the path, and that the device" },
        };

    [Theory]
    [MemberData(nameof(BadBackendKeys))]
    public void A_bad_key_of_the_toolstack_fails_the_attach_and_attaching_again_works(
        string key,
        string? value,
        string reason
    )
    {
        using World world = new(xenstored);
        Guest guest = world.NewGuest();
        string image = world.NewImage();
        world.Toolstack.Attach(
            guest.Id,
            new DiskRequest
            {
                Params = "aio:" + image,
                Changes = new Dictionary<string, string?>
                {
                    [key] = value
                        ?.Replace("HOME", $"/local/domain/{guest.Id.Frontend}", StringComparison.Ordinal)
                        .Replace("LONG", s_long, StringComparison.Ordinal),
                },
            }
        );
        Wait.Until(() => world.Toolstack.Error(guest.Id) is not null, "the reason is in the store");
        Assert.Contains(reason, world.Toolstack.Error(guest.Id), StringComparison.Ordinal);
        Assert.Equal(world.Toolstack.Error(guest.Id), world.Toolstack.Read(guest.Id, "hotplug-error"));

        world.Toolstack.Detach(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        world.Toolstack.RemoveAreas(guest.Id);
        world.WaitUntilGone(guest.Id);
        Assert.Null(world.Store.Directory("/local/domain/0/error/backend/vbd3"));
        world.Toolstack.Attach(guest.Id, new DiskRequest { Params = "aio:" + image });
        guest.Connect(world.Toolstack);
        guest.VerifyIo(20);
        Assert.Single(world.Log.Errors);
    }

    [Fact]
    public void An_image_that_vanished_and_came_back_is_served_after_closing_and_opening()
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = "aio:" + image });
        File.Move(image, image + ".away");
        guest.SetState(XenbusState.Closing);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        guest.SetState(XenbusState.Initialising);
        AssertFailed(world, guest, "does not exist");

        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        File.Move(image + ".away", image);
        guest.MakeRings();
        guest.SetState(XenbusState.Initialising);
        guest.Connect(world.Toolstack);
        guest.VerifyIo();
    }

    [Theory]
    [InlineData(null)]
    [InlineData("block-blkring")]
    public void A_key_that_is_put_right_in_place_is_enough_before_the_guest_has_given_up(string? script)
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        Guest guest = world.Attach(new DiskRequest { Params = "aio:" + image + ".misspelt", Script = script });
        AssertFailed(world, guest, "does not exist", script is null ? XenbusState.Closing : XenbusState.InitWait);
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/params", "aio:" + image);
        Wait.Until(() => world.Toolstack.Read(guest.Id, "hotplug-error") is null, "the reason goes with its cause");
        guest.Connect(world.Toolstack);
        guest.VerifyIo(20);
    }

    [Fact]
    public void An_attach_that_fails_is_at_InitWait_where_xl_asks_its_script_and_closes_with_the_guest()
    {
        using World world = new(xenstored);
        Guest guest = world.Attach(new DiskRequest { Params = "aio:/nonexistent/disk.img" });
        AssertFailed(world, guest, "does not exist", XenbusState.InitWait);
        // Neither a second step nor a guest that connects has changed the image.
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/online", "1");
        guest.Publish();
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        Assert.Contains("does not exist", world.Toolstack.Error(guest.Id), StringComparison.Ordinal);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    [Fact]
    public void In_a_driver_domain_whose_script_nobody_hears_an_attach_that_fails_never_reaches_InitWait()
    {
        using World world = new(xenstored);
        world.Store.Write("/local/domain/0/domid", "5");
        Guest guest = world.Attach(new DiskRequest { Params = "aio:/nonexistent/disk.img" });
        AssertFailed(world, guest, "does not exist", XenbusState.Closing);
    }

    [Fact]
    public void A_guest_that_fails_in_a_loop_does_not_flood_the_log()
    {
        using World world = new(xenstored);
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        for (int round = 0; round < 40; round++)
        {
            guest.Publish(new Dictionary<string, string?> { ["ring-ref"] = "text" });
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
            guest.SetState(XenbusState.Closed);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
            guest.SetState(XenbusState.Initialising);
            world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        }
        Assert.InRange(
            world.Log.Lines.Count(line => line.Contains($"device {guest.Id}:", StringComparison.Ordinal)),
            1,
            60
        );
    }

    [Fact]
    public unsafe void A_frontend_that_breaks_its_ring_is_closed_with_the_reason()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected(),
            other = world.Connected();
        guest.Frontend.SharedRequestProducer = 0x8000_0000;
        guest.Frontend.Notify();
        AssertFailed(world, guest, "broke its ring");
        other.VerifyIo(20);
    }

    [Fact]
    public void What_the_store_keeps_refusing_is_told_once_and_ends_with_its_cause()
    {
        using World world = new(xenstored, start: false);
        StrongBox<bool> full = new(true);
        using XenbusBackend backend = new(
            world.Options,
            () => new FullStore(xenstored.Connect(), full),
            world.Hypervisor,
            world.Reactors,
            world.Log
        );
        backend.Start();
        Guest guest = world.Attach();
        Wait.Until(() => backend.Devices is [{ LastError: not null }], "the store refuses");
        Assert.Contains("E2BIG", backend.Devices[0].LastError, StringComparison.Ordinal);

        Thread.Sleep(2500);
        Assert.Single(world.Log.Lines, line => line.Contains("trying again every second", StringComparison.Ordinal));
        full.Value = false;
        guest.Connect(world.Toolstack);
        guest.VerifyIo(20);
        Assert.Null(backend.Devices[0].LastError);
    }

    /// <summary>
    /// A store that refuses further watches of frontends, as it does when a driver domain has used up its quota.
    /// </summary>
    private sealed class FullStore(IXenstore store, StrongBox<bool> full) : IXenstore
    {
        public void Watch(string path, string token)
        {
            if (full.Value && token.StartsWith("frontend/", StringComparison.Ordinal))
                throw new XenstoreException(
                    ErrorCode.StoreCallFailed,
                    $"xenstore watch {path}: E2BIG (Argument list too long)",
                    7
                );
            store.Watch(path, token);
        }

        public int Descriptor => store.Descriptor;

        public string? Read(string path, uint transaction) => store.Read(path, transaction);

        public void Write(string path, string value, uint transaction) => store.Write(path, value, transaction);

        public void Remove(string path, uint transaction) => store.Remove(path, transaction);

        public IReadOnlyList<string>? Directory(string path, uint transaction) => store.Directory(path, transaction);

        public uint StartTransaction() => store.StartTransaction();

        public bool EndTransaction(uint transaction, bool abort) => store.EndTransaction(transaction, abort);

        public void Unwatch(string path, string token) => store.Unwatch(path, token);

        public bool CheckWatch(out string path, out string token) => store.CheckWatch(out path, out token);

        public void Dispose() => store.Dispose();
    }

    private static void AssertFailed(World world, Guest guest, string reason, XenbusState state = XenbusState.Closing)
    {
        world.Toolstack.WaitFor(guest.Id, state);
        Wait.Until(() => world.Toolstack.Error(guest.Id) is not null, "the reason is in the store");
        Assert.Contains(reason, world.Toolstack.Error(guest.Id), StringComparison.Ordinal);
        Assert.Contains(reason, world.Status(guest.Id)!.LastError, StringComparison.Ordinal);
        Assert.Contains(reason, Assert.Single(world.Log.Errors), StringComparison.Ordinal);
    }
}
