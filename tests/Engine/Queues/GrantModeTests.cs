using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;
using DeviceSettings = Blkring.Engine.Xenbus.DeviceSettings;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// The three grant modes do the same for a guest. What is mapped is bounded, and unmapped in time.
/// </summary>
public sealed unsafe class GrantModeTests
{
    private static RigOptions With(GrantMode mode) =>
        new()
        {
            GrantMode = mode,
            MaxIndirectSegments = 64,
            Sectors = 1 << 14,
        };

    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B9", "F6")]
    public void What_is_written_is_read_back_whatever_the_segments(BlkifProtocol protocol, GrantMode mode)
    {
        using Rig rig = new(protocol, With(mode));
        (int, int)[][] shapes =
        [
            Requests.Pages(1),
            Requests.Pages(11),
            [(3, 4), (0, 7), (7, 7), (0, 0)],
            [(1, 7), (0, 7), (0, 5)],
            [.. Enumerable.Repeat((2, 5), 11)],
        ];
        ulong sector = 5;
        foreach ((int, int)[] shape in shapes)
        {
            Blkif.DecodedRequest write = rig.Request(Blkif.OpWrite, sector, shape);
            rig.FillGuest(in write);
            byte[] written = rig.GuestBytes(in write);
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
            Assert.Equal(written, rig.Disk.Sectors((int)sector, Requests.SectorsOf(in write)));
            Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, sector, shape);
            byte margin = *rig.Frontend.BufferOf(rig.NumberOf(in read), 1);
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
            Assert.Equal(written, rig.GuestBytes(in read));
            if (shape.Length > 1 && shape[1].Item1 > 0)
                Assert.Equal(margin, *rig.Frontend.BufferOf(rig.NumberOf(in read), 1));
            sector += 100;
        }
        Blkif.DecodedRequest longest = rig.Indirect(Blkif.OpWrite, 1000, [(1, 3), .. Requests.Pages(62), (0, 0)]);
        rig.FillGuest(in longest);
        byte[] all = rig.GuestBytes(in longest);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in longest));
        Assert.Equal(all, rig.Disk.Sectors(1000, 500));
        // One disk operation per request, whatever the mode.
        Assert.Equal((2 * shapes.Length) + 1, rig.Disk.Started.Length);
        Assert.Equal(mode == GrantMode.Copy, rig.Witness.MapCalls == 0);
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void Flushes_and_barriers_with_data_keep_their_order(BlkifProtocol protocol, GrantMode mode)
    {
        using Rig rig = new(protocol, With(mode));
        Blkif.DecodedRequest flush = rig.Request(Blkif.OpFlushDiskcache, 40, (1, 7), (0, 3)),
            barrier = rig.Request(Blkif.OpWriteBarrier, 80, Requests.Pages(2));
        foreach (Blkif.DecodedRequest request in (Blkif.DecodedRequest[])[flush, barrier])
        {
            rig.FillGuest(in request);
            rig.Put(in request);
        }
        rig.PushAndRun();
        rig.FinishDisk();
        Assert.Equal(2, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal(
            [
                DiskOperationKind.Flush,
                DiskOperationKind.Write,
                DiskOperationKind.Flush,
                DiskOperationKind.Write,
                DiskOperationKind.Flush,
            ],
            rig.Disk.Started.Select(operation => operation.Kind)
        );
        Assert.Equal(rig.GuestBytes(in flush), rig.Disk.Sectors(40, 11));
        Assert.Equal(rig.GuestBytes(in barrier), rig.Disk.Sectors(80, 16));
    }

    [Theory, EveryAbi]
    [Proves("B10", "F6")]
    public void A_pass_maps_in_one_call_and_unmaps_in_one_before_a_response_can_be_seen(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, With(GrantMode.Map));
        Blkif.DecodedRequest[] requests =
        [
            .. Enumerable
                .Range(0, 9)
                .Select(i => rig.Request(i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite, (ulong)i * 32, Requests.Pages(3))),
            rig.Indirect(Blkif.OpRead, 500, Requests.Pages(40)),
        ];
        foreach (ref Blkif.DecodedRequest request in requests.AsSpan())
            rig.Put(in request);
        rig.PushAndRun();
        Assert.Equal((1, (9 * 3) + 40), (rig.Witness.MapCalls, rig.Witness.MappedPages));
        // The disk works on the guest's own pages. They are mapped meanwhile: read-only where the disk only reads
        // them.
        Assert.Equal(67, Mapped(rig, requests));
        bool seen = false;
        rig.Witness.BeforeNotify = () => seen = Mapped(rig, requests) != 0;
        rig.FinishDisk();
        Assert.False(seen);
        Assert.Equal((1, 67, 1), (rig.Witness.UnmapCalls, rig.Witness.UnmappedPages, rig.Witness.Notifications));
        Assert.Equal(
            (1, 67, 1, 67),
            (
                rig.Statistics.GrantMapCalls,
                rig.Statistics.GrantMapPages,
                rig.Statistics.GrantUnmapCalls,
                rig.Statistics.GrantUnmapPages
            )
        );
        Assert.Equal(10, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        // The list of segments is copied, the data is not.
        Assert.Equal((1, 1), (rig.Witness.CopyCalls, rig.Witness.CopySegments));
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    [Proves("B9")]
    public void A_bad_grant_fails_its_request_alone_and_what_was_mapped_of_it_is_unmapped(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        for (int place = 0; place < 3; place++)
        {
            using Rig rig = new(protocol, With(mode));
            rig.Disk.Synchronous();
            Blkif.DecodedRequest[] requests =
            [
                .. Enumerable.Range(0, 5).Select(i => rig.Request(Blkif.OpRead, (ulong)i * 32, Requests.Pages(3))),
            ];
            rig.Domain.Revoke(new GrantReference(requests[1].Seg[place].Gref));
            requests[3].Seg[place].Gref = (uint)rig.Domain.Memory.Grants;
            foreach (ref Blkif.DecodedRequest request in requests.AsSpan())
                rig.Put(in request);
            rig.PushAndRun();
            foreach (Blkif.DecodedResponse response in rig.Responses())
                Assert.Equal(
                    response.Id == requests[1].Id || response.Id == requests[3].Id ? Blkif.RspError : Blkif.RspOkay,
                    response.Status
                );
            Assert.Equal(3, rig.Disk.Started.Length);
            Assert.Equal(2, rig.Statistics.Read.Failed);
            Assert.All(rig.Faults(), fault => Assert.Equal(FaultKind.GrantMap, fault.Kind));
            // A grant that could not be mapped is tried again.
            rig.Domain.Regrant(
                new GrantReference(requests[1].Seg[place].Gref),
                rig.Domain.Backend,
                20,
                readOnly: false
            );
            Blkif.DecodedRequest again = requests[1];
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in again));
        }
    }

    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B9", "F7")]
    public void What_the_guest_writes_may_be_granted_read_only_and_what_it_reads_may_not(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        using Rig rig = new(protocol, With(mode));
        // A frontend with feature-persistent should grant all pages writable. One that does not is served all the
        // same.
        rig.Frontend.PersistentGrants = false;
        List<Blkif.DecodedRequest> writes = [];
        foreach (int operation in (int[])[Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier])
        {
            Blkif.DecodedRequest write = rig.Request(operation, (ulong)operation * 8, Requests.Pages(1));
            rig.FillGuest(in write);
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
            Assert.Equal(rig.GuestBytes(in write), rig.Disk.Sectors(operation * 8, 8));
            writes.Add(write);
        }
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 0, Requests.Pages(2));
        read.Seg[1].Gref = rig.Frontend.GrantOf(rig.NumberOf(in read), 1, readOnly: true).Value;
        Assert.Equal(Blkif.RspError, rig.StatusOf(in read));
        // A read-only mapping does not stay: the same reference may later name a page that a READ writes to.
        Assert.Equal(0, Mapped(rig, [.. writes]));
        rig.Domain.Regrant(new GrantReference(read.Seg[1].Gref), rig.Domain.Backend, 20, readOnly: false);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
    }

    [Theory, EveryAbi]
    [Proves("B9")]
    public void A_read_only_grant_serves_two_writes_at_a_time_and_no_read_beside_them(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, With(GrantMode.Persistent));
        rig.Frontend.PersistentGrants = false;
        Blkif.DecodedRequest first = rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)),
            second = rig.Request(Blkif.OpWrite, 8, Requests.Pages(1));
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 16, Requests.Pages(1));
        second.Seg[0].Gref = read.Seg[0].Gref = first.Seg[0].Gref;
        foreach (Blkif.DecodedRequest request in (Blkif.DecodedRequest[])[first, second, read])
            rig.Put(in request);
        rig.PushAndRun();
        Assert.Equal(
            (read.Id, Blkif.RspError),
            (Assert.Single(rig.Responses()) is var answer ? answer.Id : 0, answer.Status)
        );
        rig.Disk.Complete(rig.Disk.UnderWay[0]);
        rig.Run();
        Assert.Equal(1, Mapped(rig, [first]));
        rig.FinishDisk();
        Assert.Equal(2, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal((1, 1, 0), (rig.Witness.MappedPages, rig.Witness.UnmappedPages, Mapped(rig, [first])));
    }

    [Theory, EveryAbi]
    [Proves("B5", "F9")]
    public void A_barrier_keeps_no_grants_from_those_that_it_waits_for(BlkifProtocol protocol)
    {
        using Rig rig = new(
            protocol,
            With(GrantMode.Persistent) with
            {
                MaxIndirectSegments = 16,
                MaxPersistentGrants = 16,
            }
        );
        foreach (bool synchronous in (bool[])[false, true])
        {
            rig.Disk.OnStart = synchronous ? rig.Disk.Perform : null;
            // The list of the first is copied after the barrier was taken, so it asks for its grants after the barrier.
            Blkif.DecodedRequest longest = rig.Indirect(Blkif.OpWrite, 0, Requests.Pages(16)),
                barrier = rig.Request(Blkif.OpWriteBarrier, 200, Requests.Pages(5));
            rig.FillGuest(in barrier);
            rig.Put(in longest);
            rig.Put(in barrier);
            rig.PushAndRun();
            rig.FinishDisk();
            Assert.Equal(
                [longest.Id, barrier.Id],
                rig.Responses().Where(response => response.Status == Blkif.RspOkay).Select(response => response.Id)
            );
            Assert.Equal(rig.GuestBytes(in barrier), rig.Disk.Sectors(200, 40));
        }
    }

    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B9")]
    public void The_same_grant_twice_in_a_request_and_in_two_is_served(BlkifProtocol protocol, GrantMode mode)
    {
        using Rig rig = new(protocol, With(mode));
        Blkif.DecodedRequest first = rig.Request(Blkif.OpWrite, 0, (0, 3), (4, 7), (0, 7), (2, 2));
        rig.FillGuest(in first);
        for (int i = 1; i < 4; i++)
            first.Seg[i].Gref = first.Seg[0].Gref;
        Blkif.DecodedRequest second = rig.Request(Blkif.OpWrite, 100, Requests.Pages(1));
        second.Seg[0].Gref = first.Seg[0].Gref;
        byte[] page = new ReadOnlySpan<byte>(rig.Frontend.BufferOf(rig.NumberOf(in first), 0), 4096).ToArray();
        rig.Put(in first);
        rig.Put(in second);
        rig.PushAndRun();
        // The second ends while the first is still under way: the page stays mapped for that one.
        if (mode != GrantMode.Copy)
        {
            rig.Disk.Complete(rig.Disk.UnderWay[1]);
            rig.Run();
            Assert.True(rig.Domain.IsMapped(new GrantReference(first.Seg[0].Gref)));
        }
        rig.FinishDisk();
        Assert.Equal(2, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal([.. page, .. page, .. page[1024..1536]], rig.Disk.Sectors(0, 17));
        Assert.Equal(page, rig.Disk.Sectors(100, 8));
        Assert.Equal(
            mode == GrantMode.Persistent ? 1
                : mode == GrantMode.Map ? 5
                : 0,
            rig.Witness.MappedPages
        );
        Assert.Equal(mode == GrantMode.Persistent, rig.Domain.IsMapped(new GrantReference(first.Seg[0].Gref)));
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    [Proves("B10", "F6")]
    public void A_grant_revoked_while_mapped_hurts_nobody(BlkifProtocol protocol, GrantMode mode)
    {
        using Rig rig = new(protocol, With(mode));
        new Random(4).NextBytes(rig.Disk.Content);
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 0, Requests.Pages(3));
        rig.Put(in read);
        rig.PushAndRun();
        GrantReference revoked = new(read.Seg[1].Gref);
        rig.Domain.Revoke(revoked);
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(rig.Disk.Sectors(0, 24), rig.GuestBytes(in read));
        Assert.Equal(mode == GrantMode.Persistent ? Blkif.RspOkay : Blkif.RspError, rig.StatusOf(in read));
    }

    [Theory, EveryAbi]
    [Proves("B9", "F7")]
    public void A_persistent_grant_is_mapped_once_and_goes_with_the_queue(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, With(GrantMode.Persistent));
        rig.Disk.Synchronous();
        Blkif.DecodedRequest[] requests =
        [
            .. Enumerable
                .Range(0, 8)
                .Select(i => rig.Request(i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite, (ulong)i * 32, Requests.Pages(4))),
        ];
        for (int round = 0; round < 10; round++)
            foreach (Blkif.DecodedRequest request in requests)
                Assert.Equal(Blkif.RspOkay, rig.StatusOf(in request));
        Assert.Equal(
            (8, 32, 0, 0),
            (rig.Witness.MapCalls, rig.Witness.MappedPages, rig.Witness.UnmapCalls, rig.Witness.CopyCalls)
        );
        Assert.Equal(32, Mapped(rig, requests));
        rig.Queue.DetachDisk();
        Assert.Equal((1, 32), (rig.Witness.UnmapCalls, rig.Witness.UnmappedPages));
        Assert.Equal(0, Mapped(rig, requests));
    }

    [Theory, EveryAbi]
    public void Pages_seen_first_in_the_same_pass_are_mapped_and_unmapped_together(BlkifProtocol protocol)
    {
        using Rig rig = new(
            protocol,
            With(GrantMode.Persistent) with
            {
                MaxIndirectSegments = 64,
                MaxPersistentGrants = 64,
            }
        );
        rig.Disk.Synchronous();
        Blkif.DecodedRequest[] requests =
        [
            .. Enumerable.Range(0, 8).Select(i => rig.Request(Blkif.OpRead, (ulong)i * 88, Requests.Pages(11))),
        ];
        Blkif.DecodedRequest[] first = requests[..5],
            second = requests[5..];
        // 55 pages: one range of the most pages, and one of the rest.
        foreach (ref Blkif.DecodedRequest request in first.AsSpan())
            rig.Put(in request);
        rig.PushAndRun();
        Assert.All(rig.Responses(), response => Assert.Equal(Blkif.RspOkay, response.Status));
        Assert.Equal((1, 2, 55), (rig.Witness.MapCalls, rig.Witness.Mapped.Count, rig.Witness.MappedPages));

        // They replace the range that was unused for longest, as a whole.
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in first[4]));
        foreach (ref Blkif.DecodedRequest request in second.AsSpan())
            rig.Put(in request);
        rig.PushAndRun();
        Assert.All(rig.Responses(), response => Assert.Equal(Blkif.RspOkay, response.Status));
        Assert.Equal((3, 56), (rig.Witness.Mapped.Count, rig.Witness.MappedPages - rig.Witness.UnmappedPages));
        Assert.Equal((11, 33), (Mapped(rig, [first[4]]), Mapped(rig, second)));
    }

    [Theory, EveryAbi]
    [Proves("B9", "F7")]
    public void No_more_stay_mapped_than_allowed_and_those_used_last_stay(BlkifProtocol protocol)
    {
        using Rig rig = new(
            protocol,
            With(GrantMode.Persistent) with
            {
                MaxIndirectSegments = 0,
                MaxPersistentGrants = 22,
            }
        );
        rig.Disk.Synchronous();
        Blkif.DecodedRequest[] requests =
        [
            .. Enumerable.Range(0, 30).Select(i => rig.Request(Blkif.OpRead, (ulong)i, Requests.Pages(11))),
        ];
        // Two fit. The first is in use all the time, so the others take turns in the place of the second.
        for (int i = 1; i < 30; i++)
        {
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in requests[0]));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in requests[i]));
            Assert.Equal(22, rig.Witness.MappedPages - rig.Witness.UnmappedPages);
            Assert.Equal(22, Mapped(rig, [requests[0], requests[i]]));
        }
        Assert.Equal(30 * 11, rig.Witness.MappedPages);
    }

    [Theory, EveryAbi]
    public void Requests_wait_in_order_while_all_that_may_be_mapped_is_in_use(BlkifProtocol protocol)
    {
        using Rig rig = new(
            protocol,
            With(GrantMode.Persistent) with
            {
                MaxIndirectSegments = 16,
                MaxPersistentGrants = 16,
            }
        );
        List<ulong> posted = [];
        for (int i = 0; i < 12; i++)
        {
            Blkif.DecodedRequest request =
                i % 3 == 0
                    ? rig.Indirect(Blkif.OpRead, (ulong)i, Requests.Pages(16))
                    : rig.Request(Blkif.OpRead, (ulong)i, Requests.Pages(1 + i % 3 * 5));
            posted.Add(request.Id);
            rig.Put(in request);
        }
        rig.PushAndRun();
        List<ulong> answered = [];
        while (rig.Disk.UnderWay is [ScriptedOperation first, ..])
        {
            Assert.InRange(rig.Witness.MappedPages - rig.Witness.UnmappedPages, 1, 16);
            rig.Disk.Complete(first);
            rig.Run();
            answered.AddRange(rig.Responses().ConvertAll(response => response.Id));
        }
        Assert.Equal(posted.Order(), answered.Order());
        // Direct requests need not wait for lists to be copied: each of the two kinds keeps its own order.
        Assert.Equal(posted.Where((_, i) => i % 3 != 0), answered.Where(id => posted.IndexOf(id) % 3 != 0));
        Assert.Equal(posted.Where((_, i) => i % 3 == 0), answered.Where(id => posted.IndexOf(id) % 3 == 0));
    }

    [Theory, EveryAbi]
    public void Neither_pages_nor_grants_are_waited_for_in_a_circle(BlkifProtocol protocol)
    {
        // The least possible number of both, and requests that take them in every order.
        using Rig rig = new(
            protocol,
            With(GrantMode.Persistent) with
            {
                MaxIndirectSegments = 300,
                IndirectMemoryBytes = 0,
                MaxPersistentGrants = 0,
            }
        );
        Random random = new(7);
        int answered = 0;
        for (int round = 0; round < 40; round++)
        {
            for (uint free = rig.Frontend.FreeRequests; free > 0; free--)
            {
                rig.Put(
                    random.Next(2) == 0
                        ? rig.Indirect(Blkif.OpRead, 0, Requests.Pages(1 + random.Next(300)))
                        : rig.Request(Blkif.OpWrite, 0, Requests.Pages(1 + random.Next(11)))
                );
            }
            rig.PushAndRun();
            for (int i = 0; i < 20 && rig.Disk.UnderWay is { Length: > 0 } underWay; i++)
            {
                rig.Disk.Complete(underWay[random.Next(underWay.Length)]);
                rig.Run();
            }
            answered += rig.Responses().Count(response => response.Status == Blkif.RspOkay);
            Assert.True(
                rig.Queue.InFlight == 0 || rig.Disk.UnderWay.Length > 0,
                "requests wait and nothing is under way"
            );
        }
        rig.FinishDisk();
        Assert.Equal(0, rig.Queue.InFlight);
        Assert.True(answered > 300);
    }

    [Theory, EveryAbi]
    [Proves("B9", "F7")]
    public void Pages_that_nobody_uses_are_unmapped_after_a_while(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, With(GrantMode.Persistent));
        rig.Disk.Synchronous();
        Blkif.DecodedRequest early = rig.Request(Blkif.OpRead, 0, Requests.Pages(4)),
            late = rig.Request(Blkif.OpRead, 0, Requests.Pages(3));
        Assert.False(rig.Queue.HoldsIdleGrants);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in early));
        long between = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in late));
        long idle = (long)(VbdQueueOptions.DefaultPersistentIdle.TotalSeconds * System.Diagnostics.Stopwatch.Frequency);

        rig.Queue.ReleaseIdleGrants(between);
        Assert.Equal(7, Mapped(rig, [early, late]));
        rig.Queue.ReleaseIdleGrants(between + idle);
        Assert.Equal((0, 3), (Mapped(rig, [early]), Mapped(rig, [late])));
        Assert.True(rig.Queue.HoldsIdleGrants);
        rig.Queue.ReleaseIdleGrants(long.MaxValue);
        Assert.Equal(0, Mapped(rig, [early, late]));
        Assert.False(rig.Queue.HoldsIdleGrants);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in early));
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void Short_transfers_of_scattered_pages_are_continued_where_they_ended(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        using Rig rig = new(protocol, With(mode));
        new Random(2).NextBytes(rig.Disk.Content);
        int step = 0;
        rig.Disk.OnStart = operation =>
            rig.Disk.Perform(operation, Math.Min(operation.LengthBytes, 512 * (1 + (step++ % 5))));
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 9, (1, 2), (3, 7), (0, 7), (0, 1), (6, 6), (2, 5));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
        Assert.Equal(rig.Disk.Sectors(9, 22), rig.GuestBytes(in read));
    }

    [Theory, EveryAbi]
    public void More_pieces_than_the_kernel_takes_at_a_time_are_several_operations(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, With(GrantMode.Map) with { MaxIndirectSegments = 3000, MaxInFlight = 2 });
        Blkif.DecodedRequest write = rig.Indirect(Blkif.OpWrite, 0, [.. Enumerable.Repeat((2, 5), 3000)]);
        rig.FillGuest(in write);
        byte[] written = rig.GuestBytes(in write);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
        Assert.Equal(written, rig.Disk.Sectors(0, 12000));
        Assert.Equal([1024, 1024, 952], rig.Disk.Started.Select(operation => operation.VectorCount));
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void A_disk_that_fails_leaves_nothing_mapped_that_should_not_be(BlkifProtocol protocol, GrantMode mode)
    {
        using Rig rig = new(protocol, With(mode));
        int calls = 0;
        rig.Disk.OnStart = _ => calls++ % 2 == 0 ? -Errno.EAGAIN : -Errno.EIO;
        foreach (int operation in Requests.WithSegments)
        {
            Blkif.DecodedRequest request = rig.Request(operation, 0, Requests.Pages(5));
            rig.Put(in request);
            rig.PushAndRun();
            rig.Run();
            Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
            Assert.Equal(mode == GrantMode.Map ? 0 : 5, Mapped(rig, [request]));
        }
    }

    [Theory, EveryAbi]
    public void A_frontend_without_the_feature_is_served_by_copying(BlkifProtocol protocol)
    {
        using Reactor reactor = new();
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        Frontend frontend = Frontend.Create(domain, protocol, 1);
        using MemoryDisk disk = new(4096);
        using Vbd vbd = new(disk, reactor, new VbdOptions { GrantMode = GrantMode.Persistent });
        vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain));
        frontend.Put(Requests.Of(frontend, 0, Blkif.OpWrite, 0, Requests.Pages(3)));
        frontend.Push();
        Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status);
        Assert.Equal((0, 3), (vbd.Queue!.Statistics.GrantMapCalls, vbd.Queue.Statistics.GrantCopySegments));
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void A_device_copies_where_the_process_may_map_no_more_until_another_stops(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        using Reactor reactor = new();
        // A ring of one page may need 32 ranges with Map. With Persistent it needs one per 16 pages, and those of the
        // longest request.
        VbdQueueOptions queue = new()
        {
            GrantMode = mode,
            MaxIndirectSegments = new VbdOptions().MaxIndirectSegments,
            MaxPersistentGrants = 2048,
        };
        Assert.InRange(queue.MappedRanges(32), 32, queue.MappedPages(32) / 4);
        MappingBudget budget = new((2 * queue.MappedRanges(32)) - 1);
        VbdOptions options = new()
        {
            GrantMode = mode,
            MappingBudget = budget,
            MaxPersistentGrants = queue.MaxPersistentGrants,
        };
        using Device first = new(reactor, protocol, new MemoryDisk(4096), options: options);
        for (int i = 0; i < 2; i++)
        {
            using Device second = new(reactor, protocol, new MemoryDisk(4096), options: options);
            Assert.Equal((1, 0), CallsOfOneWrite(first));
            Assert.Equal((0, 1), CallsOfOneWrite(second));
        }
        Assert.True(first.Vbd.Stop(Wait.Limit));
        using Device third = new(reactor, protocol, new MemoryDisk(4096), options: options);
        Assert.Equal((1, 0), CallsOfOneWrite(third));

        static (long Maps, long Copies) CallsOfOneWrite(Device device)
        {
            QueueStatistics statistics = device.Queue.Statistics;
            (long maps, long copies) = (statistics.GrantMapCalls, statistics.GrantCopyCalls);
            // Other pages each time, because a persistent grant is mapped only once.
            device.Frontend.Put(Requests.Of(device.Frontend, (int)maps, Blkif.OpWrite, 0, Requests.Pages(3)));
            device.Frontend.Push();
            Wait.ForResponses(device.Frontend, 1);
            return (statistics.GrantMapCalls - maps, statistics.GrantCopyCalls - copies);
        }
    }

    [Theory, EveryAbi]
    [Proves("F7")]
    public void Stopped_a_device_has_nothing_mapped(BlkifProtocol protocol)
    {
        using Reactor reactor = new();
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        Frontend frontend = Frontend.Create(domain, protocol, 1);
        frontend.PersistentGrants = true;
        using MemoryDisk disk = new(4096);
        using Vbd vbd = new(disk, reactor, new VbdOptions { GrantMode = GrantMode.Persistent });
        vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain));
        Blkif.DecodedRequest write = Requests.Of(frontend, 0, Blkif.OpWrite, 0, Requests.Pages(3));
        frontend.Put(in write);
        frontend.Push();
        Wait.ForResponses(frontend, 1);
        Assert.True(domain.IsMapped(new GrantReference(write.Seg[2].Gref)));
        Assert.True(vbd.Stop(Wait.Limit));
        for (int i = 0; i < 3; i++)
            Assert.False(domain.IsMapped(new GrantReference(write.Seg[i].Gref)));
    }

    [Theory, EveryAbi]
    public void A_queue_that_nobody_turns_lets_go_of_its_pages_as_well(BlkifProtocol protocol)
    {
        using Reactor reactor = new(new ReactorOptions { IdleGrantsInterval = TimeSpan.FromMilliseconds(10) });
        using Device device = new(
            reactor,
            protocol,
            new MemoryDisk(4096),
            options: new VbdOptions { GrantMode = GrantMode.Persistent, PersistentIdle = TimeSpan.FromMilliseconds(30) }
        );
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpWrite, 0, Requests.Pages(3)));
        device.Frontend.Push();
        Wait.ForResponses(device.Frontend, 1);
        Wait.Until(() => device.Queue.Statistics.GrantUnmapPages == 3, "the pages of an idle queue to be unmapped");
    }

    public static TheoryData<BlkifProtocol, GrantMode, bool> EveryModeAndWay()
    {
        TheoryData<BlkifProtocol, GrantMode, bool> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (GrantMode mode in (GrantMode[])[GrantMode.Map, GrantMode.Persistent])
        foreach (bool ioUring in (bool[])[true, false])
            rows.Add(protocol, mode, ioUring);
        return rows;
    }

    [Theory, MemberData(nameof(EveryModeAndWay))]
    public void A_file_holds_what_was_written(BlkifProtocol protocol, GrantMode mode, bool ioUring)
    {
        using TempImage image = new(16384);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        // Fewer persistent grants than the frontend has pages: some are evicted all the time.
        using Device device = new(
            reactor,
            protocol,
            image.Open(),
            segments: 40,
            options: new VbdOptions
            {
                GrantMode = mode,
                MaxPersistentGrants = 100,
                MaxIndirectSegments = 40,
            }
        );
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(200), depth: 32, 16384, seed: 8);
        Assert.True(result.IsRight, result.FirstProblem);
        QueueStatistics statistics = device.Queue.Statistics;
        Assert.True(statistics.GrantMapPages > 0 && result.Indirect > 0);
        Assert.InRange(
            statistics.GrantMapPages - statistics.GrantUnmapPages,
            mode == GrantMode.Map ? 0 : 1,
            mode == GrantMode.Map ? 0 : 100
        );
    }

    [Theory]
    [InlineData("auto", null, true), InlineData("copy", GrantMode.Copy, true), InlineData("map", GrantMode.Map, true)]
    [
        InlineData("persistent", GrantMode.Persistent, true),
        InlineData("Copy", GrantMode.Copy, true),
        InlineData("copied", null, false),
        InlineData("", null, false)
    ]
    public void A_mode_has_a_name(string text, GrantMode? expected, bool known)
    {
        Assert.Equal(known, DeviceSettings.Grants.TryParse(text, out GrantMode? mode));
        Assert.Equal(expected, mode);
        if (!known)
            return;
        Assert.Equal(
            expected ?? GrantMode.Persistent,
            GrantModes.Resolve(mode, pinsPages: false, losesPinnedPages: false)
        );
        Assert.Equal(expected ?? GrantMode.Copy, GrantModes.Resolve(mode, pinsPages: true, losesPinnedPages: false));
        // The configured mode is used, except where the kernel cannot do it.
        Assert.Equal(
            expected ?? GrantMode.Persistent,
            GrantModes.Resolve(mode, pinsPages: false, losesPinnedPages: true)
        );
        Assert.Equal(GrantMode.Copy, GrantModes.Resolve(mode, pinsPages: true, losesPinnedPages: true));
    }

    /// <summary>
    /// Pages of the requests that the guest sees as mapped. A page counts once for each segment that names it.
    /// </summary>
    private static int Mapped(Rig rig, Blkif.DecodedRequest[] requests)
    {
        int mapped = 0;
        foreach (Blkif.DecodedRequest request in requests)
            for (int i = 0; i < request.NrSegments; i++)
                if (rig.Domain.IsMapped(new GrantReference(rig.SegmentOf(in request, i).Gref)))
                    mapped++;
        return mapped;
    }
}
