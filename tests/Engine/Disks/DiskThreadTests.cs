using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>B12 on the kernel: what io_uring does, what the disk's own thread does, and what either refuses.</summary>
public sealed class DiskThreadTests
{
    private const int Sectors = 4096;

    [Theory, EveryAbi(true, false)]
    [Proves("B12")]
    public void A_discard_gives_the_space_of_a_file_back_also_without_io_uring(BlkifProtocol protocol, bool ioUring)
    {
        using TempImage image = new(Sectors);
        byte[] content = new byte[Sectors * Disk.SectorBytes];
        Array.Fill(content, (byte)7);
        File.WriteAllBytes(image.Path, content);
        using (Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring }))
        using (Device device = new(reactor, protocol, image.Open(cache: CacheMode.Writeback)))
        {
            ulong before = BlocksOf(image.Path);
            // Smaller than any block of the file system, unaligned, and all but the last page.
            Assert.Equal(Blkif.RspOkay, Discard(device, 1, 3));
            Assert.Equal(before, BlocksOf(image.Path));
            Assert.Equal(Blkif.RspOkay, Discard(device, 17, Sectors - 17 - 8));
            Assert.InRange(BlocksOf(image.Path), 0UL, before / 8);
            Assert.Equal((2, 0), (device.Queue.Statistics.Discard.Operations, device.Queue.Statistics.Discard.Failed));
        }
        content.AsSpan(512, 3 * 512).Clear();
        content.AsSpan(17 * 512, (Sectors - 17 - 8) * 512).Clear();
        Assert.True(content.AsSpan().SequenceEqual(File.ReadAllBytes(image.Path)));
    }

    [Theory, EveryAbi(true, false)]
    public void A_file_that_is_taken_for_a_device_refuses_every_way_that_devices_have(
        BlkifProtocol protocol,
        bool ioUring
    )
    {
        using TempImage image = new(Sectors);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device device = new(reactor, protocol, new PretendDevice(image.Path));
        Assert.True(device.Vbd.Disk.RefuseDiscard(DiscardMethod.PunchHole));
        // Now the kernel itself: EOPNOTSUPP to the command, ENOTTY to the ioctl.
        Assert.Equal(Blkif.RspEopnotsupp, Discard(device, 0, 8));
        Assert.Equal((DiscardMethod.None, false), (device.Vbd.Disk.DiscardMethod, device.Vbd.Disk.DiscardSupported));
    }

    /// <summary>
    /// Since about Linux 6.1 the null device accepts any io_uring command, but no ioctl: it plays a device that
    /// discards.
    /// </summary>
    [Theory, EveryAbi]
    public void A_command_goes_through_io_uring_and_is_answered_when_the_kernel_has_done_it(BlkifProtocol protocol)
    {
        using Reactor reactor = new();
        Assert.SkipUnless(
            reactor.UsesIoUring && Environment.OSVersion.Version >= new Version(6, 2),
            "needs io_uring of Linux 6.2"
        );
        using Device device = new(reactor, protocol, new PretendDevice("/dev/null"));
        Assert.True(device.Vbd.Disk.RefuseDiscard(DiscardMethod.PunchHole));
        Assert.Equal(Blkif.RspOkay, Discard(device, 3, Sectors - 3));
        Assert.Equal(DiscardMethod.UringCommand, device.Vbd.Disk.DiscardMethod);
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B12")]
    public void A_slow_discard_of_one_disk_holds_up_no_other_request_of_the_same_thread(
        BlkifProtocol protocol,
        bool ioUring
    )
    {
        using TempImage image = new(Sectors),
            other = new(Sectors);
        using ManualResetEventSlim entered = new(),
            mayEnd = new();
        List<(DiscardMethod Method, long OffsetBytes, int LengthBytes)> calls = [];
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device slow = new(
            reactor,
            protocol,
            new PretendDevice(
                image.Path,
                (int _, in DiskOperation operation) =>
                {
                    calls.Add((operation.DiscardMethod, operation.OffsetBytes, operation.LengthBytes));
                    entered.Set();
                    return mayEnd.Wait(Wait.LimitMs) ? 0 : -Errno.EIO;
                }
            )
        );
        using Device quick = new(reactor, protocol, other.Open(), domain: 8);
        Assert.True(
            slow.Vbd.Disk.RefuseDiscard(DiscardMethod.PunchHole)
                && slow.Vbd.Disk.RefuseDiscard(DiscardMethod.UringCommand)
        );
        slow.Frontend.Put(Requests.Discard(0, 8, 16));
        slow.Frontend.Put(Requests.Discard(1, 64, 8));
        slow.Frontend.Push();
        Assert.True(entered.Wait(Wait.LimitMs, TestContext.Current.CancellationToken), "the discard never began");

        foreach (Device device in (Device[])[slow, quick])
        {
            device.Frontend.Put(Requests.Of(device.Frontend, 2, Blkif.OpWrite, 0, Requests.Pages(1)));
            device.Frontend.Push();
            Blkif.DecodedResponse response = Assert.Single(Wait.ForResponses(device.Frontend, 1));
            Assert.Equal((Blkif.OpWrite, Blkif.RspOkay), (response.Operation, response.Status));
        }
        Assert.Equal(2, slow.Queue.InFlight);
        mayEnd.Set();
        Assert.All(
            Wait.ForResponses(slow.Frontend, 2),
            response => Assert.Equal((Blkif.OpDiscard, Blkif.RspOkay), (response.Operation, response.Status))
        );
        Assert.Equal([(DiscardMethod.Ioctl, 8 * 512L, 16 * 512), (DiscardMethod.Ioctl, 64 * 512L, 8 * 512)], calls);
    }

    [Fact]
    public void A_disk_closed_during_a_discard_keeps_its_descriptor_until_the_call_is_over()
    {
        using TempImage image = new(Sectors);
        using ManualResetEventSlim entered = new(),
            mayEnd = new();
        FileDescriptor file = new(Libc.Open(image.Path, Libc.O_RDWR));
        int number = file.Value;
        DiskThread thread = new(
            file,
            (int _, in DiskOperation _) =>
            {
                entered.Set();
                mayEnd.Wait(Wait.LimitMs);
                return 0;
            }
        );
        DiskThread.Port port = thread.Open(new DiskAttachment { MaxOperations = 1 });
        DiskOperation operation = new()
        {
            Kind = DiskOperationKind.Discard,
            DiscardMethod = DiscardMethod.Ioctl,
            LengthBytes = 512,
            Tag = 5,
        };
        Assert.Equal(IDiskIo.Pending, port.Start(in operation));
        Assert.True(entered.Wait(Wait.LimitMs, TestContext.Current.CancellationToken), "the discard never began");
        Assert.Equal(0, port.Reap(new DiskCompletion[1]));

        thread.Dispose();
        file.Dispose();
        Assert.True(IsOpen(number, image.Path));
        mayEnd.Set();
        Wait.Until(() => !IsOpen(number, image.Path), "the descriptor is closed");
        DiskCompletion[] done = new DiskCompletion[1];
        Assert.Equal((1, 5UL, 0), (port.Reap(done), done[0].Tag, done[0].Result));
        Assert.Equal(-Errno.EAGAIN, port.Start(in operation));
    }

    [Fact]
    public void Without_a_thread_of_its_own_a_discard_is_done_when_the_owner_says_so()
    {
        using TempImage image = new(Sectors);
        using FileDescriptor file = new(Libc.Open(image.Path, Libc.O_RDWR));
        List<(int Thread, long OffsetBytes)> calls = [];
        using DiskThread discards = new(
            file,
            (int _, in DiskOperation operation) =>
            {
                calls.Add((Environment.CurrentManagedThreadId, operation.OffsetBytes));
                return -Errno.EIO;
            },
            ownThread: false
        );
        int wakes = 0;
        DiskAttachment attachment = new() { MaxOperations = 2, Wake = () => wakes++ };
        DiskThread.Port first = discards.Open(in attachment),
            second = discards.Open(in attachment);
        Start(first, 512, tag: 1);
        Start(first, 1024, tag: 2);
        Start(second, 2048, tag: 3);
        Assert.Empty(calls);

        // The ports take turns.
        Assert.True(discards.RunOnce() && discards.RunOnce() && discards.RunOnce());
        Assert.False(discards.RunOnce());
        int here = Environment.CurrentManagedThreadId;
        Assert.Equal([(here, 512), (here, 2048), (here, 1024)], calls);
        Assert.Equal(3, wakes);
        DiskCompletion[] done = new DiskCompletion[2];
        Assert.Equal((2, -Errno.EIO, 1UL, 2UL), (first.Reap(done), done[0].Result, done[0].Tag, done[1].Tag));

        static void Start(DiskThread.Port port, long offset, ulong tag)
        {
            DiskOperation operation = new()
            {
                Kind = DiskOperationKind.Discard,
                DiscardMethod = DiscardMethod.Ioctl,
                OffsetBytes = offset,
                LengthBytes = 512,
                Tag = tag,
            };
            Assert.Equal(IDiskIo.Pending, port.Start(in operation));
        }
    }

    [Theory, EveryAbi(DiscardMethod.PunchHole, DiscardMethod.Ioctl)]
    public void Discards_leave_no_garbage_on_the_reactors_thread(BlkifProtocol protocol, DiscardMethod method)
    {
        const int WarmUp = 20_000,
            Measured = 20_000;
        foreach (bool ioUring in (bool[])[true, false])
        {
            using TempImage image = new(Sectors);
            using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
            using Device device = new(
                reactor,
                protocol,
                new PretendDevice(image.Path, (int _, in DiskOperation _) => 0)
            );
            for (DiscardMethod before = DiscardMethod.PunchHole; before < method; before++)
                device.Vbd.Disk.RefuseDiscard(before);
            Assert.Equal(0, DiscardMany(device, WarmUp));
            Thread.Sleep(100);
            Assert.Equal(0, DiscardMany(device, WarmUp / 10));
            long before0 = reactor.AllocatedBytes;
            Assert.Equal(0, DiscardMany(device, Measured));
            // The thread updates the figure when it waits.
            Assert.Equal(0, DiscardMany(device, 1));
            Assert.Equal(0, reactor.AllocatedBytes - before0);
        }
    }

    private static int Discard(Device device, ulong sector, ulong sectors)
    {
        device.Frontend.Put(Requests.Discard(0, sector, sectors));
        device.Frontend.Push();
        return Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status;
    }

    /// <summary>How many failed.</summary>
    private static int DiscardMany(Device device, int count)
    {
        int posted = 0,
            taken = 0,
            failed = 0;
        Blkif.DecodedResponse response = default;
        while (taken < count)
        {
            bool any = false;
            for (uint free = device.Frontend.FreeRequests; free > 0 && posted < count; free--, posted++, any = true)
                device.Frontend.Put(Requests.Discard(posted, (ulong)(posted % 500 * 8), 8));
            if (any)
                device.Frontend.Push();
            for (; device.Frontend.TryTake(ref response); taken++, any = true)
                if (response.Status != Blkif.RspOkay)
                    failed++;
            if (!any && !device.Frontend.FinalCheckForResponses())
                Assert.True(device.Frontend.WaitForEvent(Wait.LimitMs), "no answer came");
        }
        return failed;
    }

    private static ulong BlocksOf(string path)
    {
        Assert.Equal(0, Libc.Statx(path, 0, Libc.STATX_BLOCKS, out statx status));
        return status.stx_blocks;
    }

    private static bool IsOpen(int descriptor, string path) =>
        new FileInfo($"/proc/self/fd/{descriptor}").LinkTarget == path;

    /// <summary>What FileDisk is for a block device, over a file that every machine can open.</summary>
    private sealed class PretendDevice : Disk
    {
        private readonly FileDescriptor _file;
        private readonly DiskThread _transfers,
            _discards;

        public PretendDevice(string path, DiskCall? call = null)
            : base(Sectors, readOnly: false)
        {
            _file = new FileDescriptor(Libc.Open(path, Libc.O_RDWR));
            _transfers = new DiskThread(_file);
            _discards = call is null ? new DiskThread(_file) : new DiskThread(_file, call);
            LastDiscardMethod = DiscardMethod.Ioctl;
        }

        public override bool DiscardZeroes => false;

        public override string Describe() => "pretends to be a device";

        public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
            visitor.Visit(new FileDiskIo(_file, _transfers, _discards, this, FileTraits.None));

        protected override void Dispose(bool disposing)
        {
            _transfers.Dispose();
            _discards.Dispose();
            _file.Dispose();
        }
    }
}
