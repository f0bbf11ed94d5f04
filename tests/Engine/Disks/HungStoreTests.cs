using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Disks;

/// <summary>A store that hangs costs its own disk, and no other on the same thread.</summary>
public sealed class HungStoreTests
{
    private const int Sectors = 1 << 16;

    // One ring of one page: more than the kernel's own limit of workers, see Reactor().
    private const int HungWrites = 32;

    [Theory, EveryAbi(true, false)]
    [Proves("B20")]
    public void No_request_of_another_disk_waits_for_a_store_that_hangs(BlkifProtocol protocol, bool ioUring)
    {
        using HangingMemory? memory = HangingMemory.TryCreate(HungWrites * HangingDisk.HangBytes);
        Assert.SkipUnless(memory is not null, "needs userfaultfd with faults of the kernel: root");
        using TempImage image = new(Sectors),
            other = new(Sectors);
        using Reactor reactor = Reactor(ioUring);
        using Device hung = new(reactor, protocol, new HangingDisk(image.Path, memory, Sectors));
        using Device healthy = new(reactor, protocol, other.Open(), domain: 8);
        try
        {
            for (int i = 0; i < HungWrites; i++)
                hung.Frontend.Put(Requests.Of(hung.Frontend, i, Blkif.OpWrite, (ulong)i * 64, Requests.Pages(1)));
            hung.Frontend.Push();
            Wait.Until(() => hung.Queue.InFlight == HungWrites, "the writes are under way");

            (int Operation, ulong Sector)[] requests =
            [
                (Blkif.OpWrite, 8),
                (Blkif.OpFlushDiskcache, 0),
                (Blkif.OpRead, 8),
                (Blkif.OpWrite, 4096),
                (Blkif.OpFlushDiskcache, 0),
            ];
            foreach ((int operation, ulong sector) in requests)
            {
                healthy.Frontend.Put(
                    Requests.Of(
                        healthy.Frontend,
                        0,
                        operation,
                        sector,
                        operation == Blkif.OpFlushDiskcache ? [] : Requests.Pages(1)
                    )
                );
                healthy.Frontend.Push();
                Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(healthy.Frontend, 1)).Status);
            }
            healthy.Frontend.Put(Requests.Discard(0, 64, 64));
            healthy.Frontend.Push();
            Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(healthy.Frontend, 1)).Status);
            Assert.Equal(HungWrites, hung.Queue.InFlight);
        }
        finally
        {
            memory.Release();
        }
        Assert.All(
            Wait.ForResponses(hung.Frontend, HungWrites),
            response => Assert.Equal(Blkif.RspOkay, response.Status)
        );
    }

    /// <summary>
    /// io_uring sorts writes of regular files that wait into 64 lines by inode: with so many files, one of them is all
    /// but certainly in the line of the first.
    /// </summary>
    [Fact]
    [Proves("B20")]
    public unsafe void No_file_waits_for_another_that_hangs_behind_the_page_cache()
    {
        const int Files = 400,
            Bytes = 4096;
        using HangingMemory? memory = HangingMemory.TryCreate(Bytes);
        Assert.SkipUnless(memory is not null, "needs userfaultfd with faults of the kernel: root");
        Assert.SkipUnless(IoUring.TryCreate(new IoUringOptions(), out IoUring? ring, out _), "needs io_uring");
        using IoUring owned = ring;
        using MappedMemory data = MappedMemory.Anonymous(Bytes, populate: true);
        using TempDirectory folder = new();
        using AutoResetEvent woken = new(false);
        DiskAttachment attachment = new()
        {
            Ring = ring,
            MaxOperations = 1,
            Wake = () => woken.Set(),
        };
        ring.Enable();
        using FileDisk hung = Open(0);
        FileDiskIo hungIo = Start(hung, memory.Address);
        ring.Submit();
        try
        {
            for (int file = 1; file < Files; file++)
            {
                using FileDisk disk = Open(file);
                FileDiskIo io = Start(disk, data.Address);
                Assert.Equal(Bytes, ResultOf(in io));
                io.Detach();
            }
        }
        finally
        {
            memory.Release();
        }
        Assert.Equal(Bytes, ResultOf(in hungIo));
        hungIo.Detach();

        FileDisk Open(int file)
        {
            File.WriteAllBytes(folder.PathOf($"{file}.img"), new byte[Bytes]);
            return FileDisk.Open(
                folder.PathOf($"{file}.img"),
                new FileDiskOptions { Writable = true, Cache = CacheMode.Writeback }
            );
        }

        FileDiskIo Start(FileDisk disk, byte* buffer)
        {
            Assert.SkipWhen(disk.IsInMemory, "needs a folder for temporary files that is not on tmpfs");
            FileDiskIo io = disk.Accept(new IoOf());
            io.Attach(in attachment);
            DiskOperation write = new()
            {
                Kind = DiskOperationKind.Write,
                Buffer = buffer,
                LengthBytes = Bytes,
                MayWait = true,
            };
            Assert.Equal(IDiskIo.Pending, io.Start(in write));
            return io;
        }

        int ResultOf(in FileDiskIo io)
        {
            DiskCompletion[] done = new DiskCompletion[1];
            for (int tries = 0; tries < Wait.LimitMs; tries++)
            {
                if (io.Reap(done) == 1)
                    return done[0].Result;
                ring.Submit();
                if (ring.LoadCompletionTail() != ring.CompletionHead)
                {
                    int result = ring.CompletionAt(ring.CompletionHead)->res;
                    ring.ReleaseCompletions(ring.CompletionHead + 1);
                    return result;
                }
                woken.WaitOne(1);
            }
            throw new TimeoutException("the write is not done: it waits for that of another file");
        }
    }

    private sealed class IoOf : IDiskVisitor<FileDiskIo>
    {
        public FileDiskIo Visit<TDisk>(TDisk io)
            where TDisk : struct, IDiskIo => (FileDiskIo)(object)io;
    }

    [Theory, EveryAbi(false, true)]
    [Proves("B20")]
    public void Only_so_many_transfers_wait_at_a_time_and_the_rest_follows(BlkifProtocol protocol, bool asTheyStart)
    {
        const int Requests = 128;
        using ScriptedDisk disk = new(Sectors) { TriesTransfers = true };
        using Rig rig = new(protocol, new RigOptions { RingPages = 4, Disk = disk });
        if (asTheyStart)
            disk.OnStart = operation => operation.MayWait ? IDiskIo.Pending : -Errno.EAGAIN;
        for (int i = 0; i < Requests; i++)
            rig.Put(rig.Request(i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite, (ulong)i * 8, (0, 7)));
        rig.PushAndRun();
        // A transfer may wait only after a first try without waiting has failed.
        Assert.DoesNotContain(disk.Started, operation => operation.MayWait && !asTheyStart);
        int quick = 0;
        foreach (ScriptedOperation tried in disk.UnderWay.Where(operation => !operation.MayWait).ToArray())
        {
            if (quick++ == 0)
                disk.Complete(tried);
            else
                disk.Complete(tried, -Errno.EAGAIN);
        }
        rig.Run();
        int answered = asTheyStart ? 0 : 1;
        Assert.Equal(answered, rig.Responses().Count);
        int most = 0;
        while (disk.UnderWay is { Length: > 0 } waiting)
        {
            Assert.All(waiting, operation => Assert.True(operation.MayWait));
            most = Math.Max(most, waiting.Length);
            // The store hangs: passes alone start nothing more.
            rig.Run();
            Assert.Equal(waiting.Length, disk.UnderWay.Length);
            disk.Complete(waiting[^1]);
            rig.Run();
            answered += rig.Responses().Count(response => response.Status == Blkif.RspOkay);
        }
        Assert.Equal((WaitingPlaces.Transfers, Requests), (most, answered));
    }

    [Theory, EveryAbi]
    public void A_store_that_cannot_be_tried_is_not_tried_again(BlkifProtocol protocol)
    {
        using ScriptedDisk disk = new(Sectors) { TriesTransfers = true };
        using Rig rig = new(protocol, new RigOptions { Disk = disk });
        disk.OnStart = operation => operation.MayWait ? disk.Perform(operation) : -Errno.EOPNOTSUPP;
        Assert.False(disk.TriesRefused);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpWrite, 0, (0, 7))));
        Assert.True(disk.TriesRefused);
        // An error of its own is one.
        disk.OnStart = operation => operation.MayWait ? -Errno.EOPNOTSUPP : -Errno.EAGAIN;
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpRead, 0, (0, 7))));
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void A_ring_full_of_long_discards_is_a_few_operations_at_a_time(BlkifProtocol protocol)
    {
        const long Huge = 1L << 40;
        const int Requests = 512,
            Pieces = 9;
        using Rig rig = new(protocol, new RigOptions { RingPages = 16, Sectors = Huge });
        for (int i = 0; i < Requests; i++)
            rig.Put(rig.Discard((ulong)i << 26, ((ulong)Pieces << 22) - 64));
        rig.PushAndRun();
        int answered = 0;
        while (rig.Disk.UnderWay is { Length: > 0 } underWay)
        {
            Assert.InRange(underWay.Length, 1, WaitingPlaces.Discards);
            rig.Disk.Complete(underWay[answered % underWay.Length]);
            rig.Run();
            answered += rig.Responses().Count(response => response.Status == Blkif.RspOkay);
        }
        Assert.Equal((Requests, Requests * Pieces), (answered, rig.Disk.Started.Length));
    }

    /// <summary>
    /// However many CPUs there are: the kernel's limit is the number of entries, if that is less than four per CPU.
    /// </summary>
    private static Reactor Reactor(bool ioUring) =>
        new(
            new ReactorOptions
            {
                UseIoUring = ioUring,
                Ring = new IoUringOptions { SubmissionEntries = 4 },
            }
        );
}
