using System.Runtime.InteropServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>B13: a store without room, with the errors of the real kernel.</summary>
public sealed partial class FullStoreTests
{
    [Theory, EveryAbi(true, false)]
    [Proves("B13")]
    public void A_store_without_room_is_an_error_for_the_writes_it_hits_and_fatal_for_nothing(
        BlkifProtocol protocol,
        bool ioUring
    )
    {
        const int Writes = 24;
        using FullStore store = FullStore.Create();
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device device = new(reactor, protocol, store.Open());
        for (int i = 0; i < Writes; i++)
            device.Frontend.Put(Requests.Of(device.Frontend, i, Blkif.OpWrite, (ulong)i * 88, Requests.Pages(11)));
        device.Frontend.Push();
        List<Blkif.DecodedResponse> responses = Wait.ForResponses(device.Frontend, Writes);
        int failed = responses.Count(response => response.Status == Blkif.RspError);
        Assert.InRange(failed, Writes / 2, Writes);
        Assert.Equal(Writes, failed + responses.Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal(
            (Writes - failed, failed),
            (device.Queue.Statistics.Write.Operations, device.Queue.Statistics.Write.Failed)
        );
        Assert.True(device.Queue.Faults.TryRead(out Fault fault));
        Assert.Equal((FaultKind.Disk, (byte)Blkif.OpWrite, Errno.ENOSPC), (fault.Kind, fault.Operation, fault.Code));

        // Reads are as good as before.
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(11)));
        device.Frontend.Push();
        Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status);
    }

    /// <summary>
    /// A small file system of the test's own, where one can be mounted; otherwise /dev/full.
    /// </summary>
    private sealed partial class FullStore : IDisposable
    {
        private const int MntDetach = 2;
        private readonly TempImage _folder = new(1);
        private string? _mounted;

        public static FullStore Create()
        {
            FullStore store = new();
            string place = store._folder.PathOf("full");
            Directory.CreateDirectory(place);
            if (Native.Mount("tmpfs", place, "tmpfs", 0, "size=128k") == 0)
            {
                store._mounted = place;
                using FileStream image = File.Create(Path.Combine(place, "disk.img"));
                image.SetLength(4096 * Disk.SectorBytes);
            }
            return store;
        }

        public Disk Open() =>
            _mounted is null
                ? new DescriptorDisk(new FileDescriptor(Libc.Open("/dev/full", Libc.O_RDWR)), 4096)
                : FileDisk.Open(Path.Combine(_mounted, "disk.img"), new FileDiskOptions { Writable = true });

        /// <summary>Null where there is no file system of its own.</summary>
        public string? PathOf(string name) => _mounted is null ? null : Path.Combine(_mounted, name);

        public void Dispose()
        {
            if (_mounted is not null && Native.Unmount(_mounted, MntDetach) is not 0 and var error)
                Violations.Report($"{_mounted} cannot be unmounted: {error}");
            _folder.Dispose();
        }
    }

    /// <summary>A FileDisk's data plane on a descriptor that no FileDisk would open.</summary>
    private sealed class DescriptorDisk(FileDescriptor file, long sectors) : Disk(sectors, readOnly: false)
    {
        private readonly DiskThread _transfers = new(file),
            _discards = new(file);

        public override bool DiscardZeroes => true;

        public override string Describe() => "an open descriptor";

        public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
            visitor.Visit(new FileDiskIo(file, _transfers, _discards, this, FileTraits.None));

        protected override void Dispose(bool disposing)
        {
            _transfers.Dispose();
            _discards.Dispose();
            file.Dispose();
        }
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B13")]
    public void A_device_that_is_full_for_everybody_fails_every_write(BlkifProtocol protocol, bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device device = new(
            reactor,
            protocol,
            new DescriptorDisk(new FileDescriptor(Libc.Open("/dev/full", Libc.O_RDWR)), 4096)
        );
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpWrite, 0, Requests.Pages(11)));
        device.Frontend.Push();
        Assert.Equal(Blkif.RspError, Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status);
        Assert.True(device.Queue.Faults.TryRead(out Fault fault));
        Assert.Equal(Errno.ENOSPC, fault.Code);
    }

    [Fact]
    public void A_journal_without_room_is_refused_and_one_that_has_its_room_keeps_it()
    {
        using FullStore store = FullStore.Create();
        Assert.SkipUnless(store.PathOf("journal") is not null, "needs a file system of its own to fill");
        RingIdentity identity = new(
            new DomainId(7),
            BlkifProtocol.X86_64,
            1,
            new GrantReference(8),
            new EventChannelPort(9)
        );
        JournalSize fits = new(32, 0),
            tooLong = new(4096, 0);
        using RingJournal journal = new(store.PathOf("journal")!, identity),
            other = new(store.PathOf("other")!, identity);

        // Without room the file would be created all the same, and the first access without a block would end the
        // process by SIGBUS.
        Assert.Contains(
            "make room there",
            Assert.Throws<VbdConnectException>(() => other.Begin(tooLong, 0)).Message,
            StringComparison.Ordinal
        );
        File.Delete(store.PathOf("other")!);
        other.Dispose();
        journal.Begin(fits, 0);
        Assert.Throws<IOException>(() => File.WriteAllBytes(store.PathOf("rest")!, new byte[256 << 10]));
        journal.End();

        using RingJournal next = new(store.PathOf("journal")!, identity);
        Assert.Equal(JournalState.Drained, next.OpenExisting(0, 32).State);
        next.Begin(fits, 0);
        Assert.Equal(new JournalFinding(JournalState.Left, fits), next.OpenExisting(0, 32));
    }

    private static partial class Native
    {
        [LibraryImport("libc", EntryPoint = "mount", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
        public static partial int Mount(string source, string target, string type, nuint flags, string data);

        [LibraryImport("libc", EntryPoint = "umount2", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
        public static partial int Unmount(string target, int flags);
    }
}
