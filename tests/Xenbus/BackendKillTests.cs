using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>A whole backend is killed with requests under way, again and again.</summary>
public sealed class BackendKillTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private const int Kills = 20;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [Proves("F20")]
    public void Each_request_is_answered_once_however_often_the_backend_is_killed(int rings)
    {
        using World world = new(xenstored, start: false);
        List<IDisposable> dead = [];
        HungDisk disk = NextDaemon();
        Guest guest = world.Connected(new DiskRequest { Params = "aio:/hung" }, rings: rings);
        ulong id = 0;
        int[] posted = new int[rings];
        for (int kill = 0; kill < Kills; kill++)
        {
            for (int ring = 0; ring < rings; ring++)
            {
                guest.PutRead(++id, sector: 8, ring);
                posted[ring]++;
            }
            int underWay = kill + 1;
            Wait.Until(() => disk.Requests == underWay * rings, "the disk has all of them");
            world.KillBackend();
            Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
            disk = NextDaemon();
            Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        }
        Wait.Until(() => disk.Requests == Kills * rings, "all are replayed");
        disk.Release();
        foreach (VbdQueue queue in world.Status(guest.Id)!.Queues)
            world.Reactor.Kick(queue);
        HashSet<ulong> answered = [];
        for (int ring = 0; ring < rings; ring++)
            foreach (Blkif.DecodedResponse response in Wait.ForResponses(guest.Frontends[ring], posted[ring]))
                Assert.True(answered.Add(response.Id) && response.Status == Blkif.RspOkay);
        Assert.Equal((int)id, answered.Count);
        foreach (IDisposable left in dead)
            left.Dispose();

        HungDisk NextDaemon()
        {
            HungDisk own = new(World.Sectors);
            dead.Add(own);
            world.Options = new BackendOptions { JournalFolder = world.JournalFolder, OpenImage = (_, _) => own };
            world.StartBackend();
            return own;
        }
    }
}
