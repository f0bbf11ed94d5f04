using System.Diagnostics;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Loopback;

/// <summary>
/// Everything together: a mixed workload in which every byte is checked, and a proof that the check finds a disk that
/// lies.
/// </summary>
public sealed unsafe class WorkloadTests
{
    public enum Store
    {
        Memory,
        FileWithIoUring,
        FileWithoutIoUring,
        BufferedFileWithIoUring,
    }

    public static TheoryData<BlkifProtocol, Store, int> EveryStore()
    {
        TheoryData<BlkifProtocol, Store, int> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (Store store in Enum.GetValues<Store>())
        foreach (int pages in (int[])[1, 16])
            rows.Add(protocol, store, pages);
        return rows;
    }

    [Theory, MemberData(nameof(EveryStore))]
    [Proves("F2")]
    public void What_is_written_is_read_back(BlkifProtocol protocol, Store store, int ringPages)
    {
        const long Sectors = 16384;
        using TempImage image = new(Sectors);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = store != Store.FileWithoutIoUring });
        Assert.Equal(store != Store.FileWithoutIoUring, reactor.UsesIoUring);
        Disk disk = store switch
        {
            Store.Memory => new MemoryDisk(Sectors),
            Store.BufferedFileWithIoUring => image.Open(cache: CacheMode.Writeback),
            _ => image.Open(),
        };
        using Device device = new(reactor, protocol, disk, ringPages);
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(100), depth: 512, Sectors, seed: 42);
        Assert.True(result.IsRight, result.FirstProblem);
        Assert.True(result.Reads > 0 && result.Writes > 0 && result.Operations == result.Verified);
        Assert.Equal(0, device.Queue.Statistics.StaleCompletions);
        Assert.Empty(Invalid(device.Queue.Statistics));
    }

    [Theory, EveryAbi]
    public void A_disk_that_loses_one_write_is_found_out(BlkifProtocol protocol) => FindsOut<LosesOneWrite>(protocol);

    [Theory, EveryAbi]
    public void A_disk_that_returns_what_was_there_before_is_found_out(BlkifProtocol protocol) =>
        FindsOut<ReturnsOldData>(protocol);

    [Theory, EveryAbi]
    public void A_disk_that_swaps_two_sectors_is_found_out(BlkifProtocol protocol) =>
        FindsOut<SwapsTwoSectors>(protocol);

    [Theory, EveryAbi]
    public void A_disk_that_flips_a_bit_is_found_out(BlkifProtocol protocol) => FindsOut<FlipsOneBit>(protocol);

    [Theory, EveryAbi]
    public void A_disk_that_loses_one_discard_is_found_out(BlkifProtocol protocol) =>
        FindsOut<LosesOneDiscard>(protocol);

    [Theory, EveryAbi]
    public void The_same_disk_without_a_lie_is_not(BlkifProtocol protocol)
    {
        WorkloadResult result = Run<Honest>(protocol, 1, TimeSpan.FromMilliseconds(10), out bool lied);
        Assert.True(result.IsRight, result.FirstProblem);
        Assert.False(lied);
    }

    /// <summary>
    /// The disk lies once. If the place is overwritten before it is read, the lie has no effect. So a few runs may
    /// pass.
    /// </summary>
    private static void FindsOut<TTwist>(BlkifProtocol protocol)
        where TTwist : struct, ITwist
    {
        const int Lies = 20;
        long start = Stopwatch.GetTimestamp();
        // On a slow machine a run may end before the operation about which the disk lies. The next run is longer.
        TimeSpan length = TimeSpan.FromMilliseconds(10);
        for ((int lies, ulong seed) = (0, 1); lies < Lies && Stopwatch.GetElapsedTime(start) < Wait.Limit; seed++)
        {
            WorkloadResult result = Run<TTwist>(protocol, seed, length, out bool lied);
            if (lied)
                lies++;
            else
                length *= 2;
            if (!lied || result.IsRight)
                continue;
            Assert.Contains("does not hold what was written", result.FirstProblem, StringComparison.Ordinal);
            Assert.True(result.WrongSectors > 0);
            return;
        }
        Assert.Fail($"nobody noticed that the disk {typeof(TTwist).Name}");
    }

    private static WorkloadResult Run<TTwist>(BlkifProtocol protocol, ulong seed, TimeSpan length, out bool lied)
        where TTwist : struct, ITwist
    {
        using Reactor reactor = new();
        WrappedDisk<TTwist> disk = new(8192);
        using Device device = new(reactor, protocol, disk);
        WorkloadResult result = device.Work(length, depth: 32, 8192, seed);
        lied = disk.State.Done;
        return result;
    }

    private static IEnumerable<RequestKind> Invalid(QueueStatistics statistics) =>
        Enum.GetValues<RequestKind>().Where(kind => statistics[kind].Invalid + statistics[kind].Failed > 0);

    private readonly struct Honest : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state) =>
            disk.Start(in operation);
    }

    private readonly struct LosesOneWrite : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state) =>
            IsTurn(in operation, DiskOperationKind.Write, state) ? operation.LengthBytes : disk.Start(in operation);
    }

    private readonly struct LosesOneDiscard : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state) =>
            IsTurn(in operation, DiskOperationKind.Discard, state) ? 0 : disk.Start(in operation);
    }

    private readonly struct FlipsOneBit : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state)
        {
            int result = disk.Start(in operation);
            if (IsTurn(in operation, DiskOperationKind.Write, state))
                content[operation.OffsetBytes + operation.LengthBytes - 1] ^= 0x80;
            return result;
        }
    }

    private readonly struct SwapsTwoSectors : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state)
        {
            int result = disk.Start(in operation);
            if (operation.LengthBytes < 2 * Disk.SectorBytes || !IsTurn(in operation, DiskOperationKind.Write, state))
                return result;
            Span<byte> first = new(content + operation.OffsetBytes, Disk.SectorBytes),
                second = new(content + operation.OffsetBytes + Disk.SectorBytes, Disk.SectorBytes);
            byte[] kept = first.ToArray();
            second.CopyTo(first);
            kept.CopyTo(second);
            return result;
        }
    }

    /// <summary>Keeps the content before a write, and returns it to the next read of the whole range.</summary>
    private readonly struct ReturnsOldData : ITwist
    {
        public static int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state)
        {
            long end = operation.OffsetBytes + operation.LengthBytes;
            if (operation.Kind == DiskOperationKind.Write && state.KeptOffsetBytes < 0 && ++state.Operations == 20)
            {
                new Span<byte>(content + operation.OffsetBytes, operation.LengthBytes).CopyTo(state.Kept);
                (state.KeptOffsetBytes, state.KeptLengthBytes) = (operation.OffsetBytes, operation.LengthBytes);
            }
            int result = disk.Start(in operation);
            if (
                operation.Kind == DiskOperationKind.Read
                && !state.Done
                && state.KeptOffsetBytes >= operation.OffsetBytes
                && state.KeptOffsetBytes + state.KeptLengthBytes <= end
            )
            {
                state.Done = true;
                state
                    .Kept.AsSpan(0, state.KeptLengthBytes)
                    .CopyTo(
                        new Span<byte>(
                            operation.Buffer + (state.KeptOffsetBytes - operation.OffsetBytes),
                            state.KeptLengthBytes
                        )
                    );
            }
            return result;
        }
    }

    /// <summary>Once, and not at the very start.</summary>
    private static bool IsTurn(in DiskOperation operation, DiskOperationKind kind, Twisted state)
    {
        if (operation.Kind != kind || state.Done || ++state.Operations < 20)
            return false;
        return state.Done = true;
    }
}
