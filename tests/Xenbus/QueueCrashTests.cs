using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// A bug in the data path costs the queue that it happens in. Its device waits, Connected, and its ring is taken over
/// anew, until one request has done it too often.
/// </summary>
public sealed class QueueCrashTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    [Fact]
    public void An_exception_over_one_request_costs_its_device_a_pause_and_others_nothing()
    {
        using FaultyDisk disk = new(World.Sectors);
        using World world = NewWorld(disk);
        Guest sick = Connect(world),
            well = world.Connected();
        disk.Failures = 1;
        sick.PutRead(id: 1, sector: 8);
        sick.PutRead(id: 77, FaultyDisk.BadSector);
        sick.PutRead(id: 2, sector: 16);

        Assert.Equal(
            [(1UL, Blkif.RspOkay), (2UL, Blkif.RspOkay), (77UL, Blkif.RspOkay)],
            Wait.ForResponses(sick.Frontend, 3).Select(r => (r.Id, (int)r.Status)).OrderBy(r => r.Item1)
        );
        Assert.Equal(1, disk.Thrown);
        Assert.Contains(
            world.Log.Lines,
            line =>
                line.Contains("operation 0, id 77, sector 64", StringComparison.Ordinal)
                && line.Contains("the disk's code has a bug", StringComparison.Ordinal)
                && line.Contains("[QueueCrashed]", StringComparison.Ordinal)
        );
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(sick.Id));
        Assert.DoesNotContain(world.Log.Lines, line => line.Contains("to Closing", StringComparison.Ordinal));
        well.VerifyIo(20);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void After_three_exceptions_over_the_same_request_the_operator_decides(bool failRequest)
    {
        using FaultyDisk disk = new(World.Sectors);
        using World world = NewWorld(disk);
        Guest sick = Connect(world),
            well = world.Connected();
        disk.Failures = 4;
        sick.PutRead(id: 77, FaultyDisk.BadSector);
        Wait.Until(() => world.Status(sick.Id) is { NeedsDecision: true }, "the ring is quarantined");
        DeviceStatus quarantined = world.Status(sick.Id)!;
        Assert.Equal((3, ErrorCode.RequestQuarantined), (disk.Thrown, quarantined.Error!.Code));
        Assert.Contains("id 77, sector 64", quarantined.LastError, StringComparison.Ordinal);
        Assert.True(quarantined.IsWaiting);
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(sick.Id));
        well.VerifyIo(20);
        // Neither time nor another daemon tries it again.
        world.RestartBackend();
        Wait.Until(() => world.Status(sick.Id) is { NeedsDecision: true }, "the ring stays quarantined");
        Assert.Equal(3, disk.Thrown);

        world.Backend.Continue(sick.Id, failRequest);
        Blkif.DecodedResponse response = Assert.Single(Wait.ForResponses(sick.Frontend, 1));
        Assert.Equal((77UL, failRequest ? Blkif.RspError : Blkif.RspOkay), (response.Id, (int)response.Status));
        Assert.Equal(failRequest ? 3 : 4, disk.Thrown);
        sick.PutRead(id: 78, sector: 8);
        Assert.Equal(78UL, Assert.Single(Wait.ForResponses(sick.Frontend, 1)).Id);
    }

    [Fact]
    public void Memory_stays_while_the_disk_works_for_a_queue_that_crashed()
    {
        using FaultyDisk disk = new(World.Sectors);
        using World world = NewWorld(disk);
        Guest sick = Connect(world);
        disk.Failures = 1;
        sick.PutRead(id: 5, FaultyDisk.HungSector);
        sick.PutRead(id: 77, FaultyDisk.BadSector);
        Wait.Until(() => world.Status(sick.Id) is { IsStopping: true }, "the disk is waited for");
        Assert.True(sick.AnyMapped);
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(sick.Id));
        disk.Release();
        world.Reactor.Kick(Assert.Single(world.Status(sick.Id)!.Queues));
        Assert.Equal([5UL, 77UL], Wait.ForResponses(sick.Frontend, 2).Select(response => response.Id).Order());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_crash_of_the_process_counts_and_a_kill_does_not(bool crashed)
    {
        using FaultyDisk disk = new(World.Sectors);
        using World world = NewWorld(disk);
        Guest sick = Connect(world);
        string folder = world.Options.JournalFolder!;
        disk.Failures = 3;
        sick.PutRead(id: 77, FaultyDisk.BadSector);
        Wait.Until(() => world.Status(sick.Id) is { NeedsDecision: true }, "three crashes are counted");
        Assert.True(world.Backend.Stop(Wait.Limit));
        // As after two crashes and the end of the process while it works on the request.
        string journal = Assert.Single(Directory.GetFiles(folder, "*-0"));
        LeaveWorkingOn(journal, crashes: 2);
        if (crashed)
            File.WriteAllText(CrashNote.PathIn(folder), "SEGV");
        world.StartBackend();
        if (crashed)
        {
            Wait.Until(() => world.Status(sick.Id) is { NeedsDecision: true }, "the ring is quarantined");
            Assert.False(File.Exists(CrashNote.PathIn(folder)));
            world.Backend.Continue(sick.Id);
        }
        Assert.Equal(77UL, Assert.Single(Wait.ForResponses(sick.Frontend, 1)).Id);
        Assert.Equal(3, disk.Thrown);
    }

    /// <summary>What a process leaves that ends while it works on the only request.</summary>
    private static unsafe void LeaveWorkingOn(string journal, uint crashes)
    {
        byte[] file = File.ReadAllBytes(journal);
        fixed (byte* start = file)
        {
            Journal.Header* head = (Journal.Header*)start;
            Journal.Record* records = (Journal.Record*)(start + Journal.HeaderBytes);
            head->Crashes = crashes;
            for (uint i = 0; i < head->RecordCount; i++)
                if (records[i].State == Journal.RecordTaken)
                    head->WorkingOn = i + 1;
            Assert.NotEqual(0U, head->WorkingOn);
        }
        File.WriteAllBytes(journal, file);
    }

    private static Guest Connect(World world) =>
        world.Connected(new DiskRequest { Params = "aio:" + HangingImages.SlowDisk });

    private World NewWorld(FaultyDisk disk)
    {
        World world = new(xenstored, start: false);
        world.Options = new HangingImages(disk).Options with
        {
            DrainTimeout = TimeSpan.FromMilliseconds(200),
            JournalFolder = world.JournalFolder,
        };
        world.StartBackend();
        return world;
    }
}
