using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>B23: the disk's length changes while it is served.</summary>
public sealed class ResizeTests
{
    [Theory]
    [InlineData(512, 8192, 16), InlineData(512, 8192 + 512, 17), InlineData(512, 8192 + 511, 16)]
    [
        InlineData(4096, 8192, 16),
        InlineData(4096, 8192 + 512, 16),
        InlineData(4096, 4095, 0),
        InlineData(4096, long.MaxValue, (long.MaxValue >> 12) << 3)
    ]
    [Proves("B23")]
    public void Of_a_store_of_larger_blocks_whole_ones_are_served(int blockBytes, long lengthBytes, long sectors)
    {
        using MemoryDisk disk = new(8, sectorBytes: blockBytes);
        Assert.Equal(sectors, disk.SectorsOf(lengthBytes));
    }

    [Theory, EveryAbi]
    [Proves("B23")]
    public void Requests_are_measured_against_the_length_of_the_moment(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { Sectors = 100 });
        rig.Disk.OnStart = operation => operation.IsTransfer ? operation.LengthBytes : 0;
        rig.Disk.LongestSectors = 200;
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpRead, 100, Requests.Pages(1))));
        rig.Disk.Resize(200);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpRead, 192, Requests.Pages(1))));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(0, 200)));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpRead, 193, Requests.Pages(1))));
        rig.Disk.Resize(96);
        rig.Disk.LongestSectors = 96;
        foreach (int operation in Requests.WithSegments)
        {
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 96, (0, 0))));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, 88, Requests.Pages(1))));
        }
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Discard(0, 97)));
    }

    [Theory, EveryAbi]
    [Proves("B23", "F16")]
    public void The_data_path_serves_the_new_length_before_the_frontend_is_told(BlkifProtocol protocol)
    {
        using TempImage image = new(64);
        using Reactor reactor = new();
        using Device device = new(reactor, protocol, image.Open());
        List<string> events = [];
        int number = 0;
        int Read(ulong sector)
        {
            device.Frontend.Put(Requests.Of(device.Frontend, number++, Blkif.OpRead, sector, (0, 0)));
            device.Frontend.Push();
            return Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status;
        }
        // What the control plane does here: write sectors, then the same state again. The guest may use the new length
        // at once.
        void Tell(long sectors) =>
            events.Add($"told {sectors}, disk {device.Vbd.Disk.CapacitySectors}, last {Read((ulong)sectors - 1)}");

        Assert.Equal(Blkif.RspError, Read(64));
        using (FileStream file = new(image.Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(128 * 512);
        device.Vbd.Resize(128, Tell);
        Assert.Equal(Blkif.RspOkay, Read(127));
        device.Vbd.Resize(32, Tell);
        Assert.Equal(Blkif.RspError, Read(32));
        Assert.Equal(["told 128, disk 128, last 0", "told 32, disk 32, last 0"], events);
    }

    [Theory, EveryAbi]
    [Proves("B23")]
    public void A_store_shorter_than_announced_is_an_error_for_the_request_and_for_no_other(BlkifProtocol protocol)
    {
        using TempImage image = new(64);
        using Reactor reactor = new();
        using Device device = new(reactor, protocol, image.Open());
        using (FileStream file = new(image.Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(32 * 512);
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 24, Requests.Pages(2)));
        device.Frontend.Put(Requests.Of(device.Frontend, 1, Blkif.OpRead, 16, Requests.Pages(2)));
        device.Frontend.Push();
        Dictionary<ulong, short> statuses = Wait.ForResponses(device.Frontend, 2)
            .ToDictionary(response => response.Id & 0xffff, response => response.Status);
        Assert.Equal((Blkif.RspError, Blkif.RspOkay), ((int)statuses[0], (int)statuses[1]));
    }

    [Fact]
    public void Lengths_that_cannot_be_are_refused()
    {
        using MemoryDisk disk = new(64);
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Resize(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Resize(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Resize(65));
        disk.Resize(1);
        disk.Resize(64);
        Assert.Equal(64, disk.CapacitySectors);
    }
}
