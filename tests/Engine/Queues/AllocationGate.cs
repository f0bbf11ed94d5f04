using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B1, the line marked Better: the data path allocates nothing. Ten million requests, not a byte of garbage on the
/// threads that serve them, not a collection; and a disk that allocates shows that the gate can fail. The runs
/// themselves are in <see cref="AllocationRun"/>, so that a native program can make them too.
/// </summary>
public sealed class AllocationGate
{
    [Theory, EveryAbi]
    [Proves("B1")]
    public void The_null_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol) =>
        AssertNoGarbage(new(AllocationSubject.NullDisk, protocol));

    [Theory, EveryAbi]
    [Proves("B1")]
    public void The_memory_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol) =>
        AssertNoGarbage(new(AllocationSubject.MemoryDisk, protocol));

    [Theory, EveryAbi]
    [Proves("B1", "F21")]
    public void A_file_serves_requests_through_io_uring_without_garbage(BlkifProtocol protocol) =>
        AssertNoGarbage(new(AllocationSubject.File, protocol));

    /// <summary>
    /// Long requests among the others, in each mode, and with fewer persistent grants than pages.
    /// </summary>
    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B1", "F21")]
    public void Long_requests_and_mapped_pages_leave_no_garbage(BlkifProtocol protocol, GrantMode mode) =>
        AssertNoGarbage(new(AllocationSubject.LongRequests, protocol, mode));

    [Theory, EveryAbi(true, false)]
    [Proves("B1", "F21")]
    public void Parts_of_blocks_leave_no_garbage(BlkifProtocol protocol, bool useIoUring) =>
        AssertNoGarbage(new(AllocationSubject.PartsOfBlocks, protocol, UseIoUring: useIoUring));

    /// <summary>
    /// Barriers, flushes that wait together, discards, requests that can never be served and grants that are none,
    /// under a limit that throttles them, on a disk that now and then returns EAGAIN or fails; with each grant mode and
    /// each way to wait.
    /// </summary>
    [Theory, MemberData(nameof(EveryWay))]
    [Proves("B1", "F21")]
    public void Requests_of_every_kind_and_their_faults_leave_no_garbage(
        BlkifProtocol protocol,
        GrantMode mode,
        bool useIoUring
    ) => AssertNoGarbage(new(AllocationSubject.EveryKind, protocol, mode, useIoUring));

    /// <summary>Two rings on one thread, each of which gets a share of it.</summary>
    [Theory, MemberData(nameof(EveryWay))]
    [Proves("B1", "F21")]
    public void Several_rings_of_a_file_leave_no_garbage(BlkifProtocol protocol, GrantMode mode, bool useIoUring) =>
        AssertNoGarbage(new(AllocationSubject.SeveralRings, protocol, mode, useIoUring));

    public static TheoryData<BlkifProtocol, GrantMode, bool> EveryWay()
    {
        TheoryData<BlkifProtocol, GrantMode, bool> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (GrantMode mode in Enum.GetValues<GrantMode>())
        foreach (bool useIoUring in (bool[])[true, false])
            rows.Add(protocol, mode, useIoUring);
        return rows;
    }

    [Theory, EveryAbi]
    [Proves("B1")]
    public void A_disk_that_allocates_is_found_out(BlkifProtocol protocol)
    {
        AllocationCase control = new(AllocationSubject.AllocatingDisk, protocol);
        AllocationCounts counts = AllocationRun.Measure(control);
        Assert.InRange(counts.ReactorBytes, AllocationCounts.ControlBytes, long.MaxValue);
        Assert.Equal(0, counts.GuestBytes);
        Assert.True(control.IsPassedBy(counts));
        Assert.False(control.IsPassedBy(default));
    }

    private static void AssertNoGarbage(AllocationCase what)
    {
        // The native program runs the same cases.
        Assert.Contains(what, AllocationCase.All);
        Assert.Equal(default, AllocationRun.Measure(what));
    }
}
