using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B9 and B10: data moves between the guest's pages and the disk in the right order; and what a bad grant does.
/// </summary>
public sealed unsafe class GrantCopyTests
{
    /// <summary>What a guest can do to a grant, and the status that the copy then ends in.</summary>
    public enum BadGrant
    {
        BeyondTheTable,
        Reserved,
        OfAnotherDomain,
        Revoked,
        BeyondTheMemory,
        ReadOnly,
    }

    public static TheoryData<BlkifProtocol, int, BadGrant> EveryBadGrant()
    {
        TheoryData<BlkifProtocol, int, BadGrant> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (int operation in Requests.WithSegments)
        foreach (BadGrant bad in Enum.GetValues<BadGrant>())
            // A WRITE only reads the guest's page, so a guest should grant it read-only.
            if (bad != BadGrant.ReadOnly || operation == Blkif.OpRead)
                rows.Add(protocol, operation, bad);
        return rows;
    }

    [Theory, MemberData(nameof(EveryBadGrant))]
    [Proves("B9", "B10")]
    public void A_bad_grant_in_any_segment_makes_the_request_an_error(
        BlkifProtocol protocol,
        int operation,
        BadGrant bad
    )
    {
        using Rig rig = new(protocol);
        for (int place = 0; place < 3; place++)
        {
            int before = rig.Disk.Started.Length;
            Blkif.DecodedRequest request = rig.Request(operation, 64, Requests.Pages(3));
            int code = Spoil(rig, ref request.Seg[place], bad);
            Assert.Equal(Blkif.RspError, rig.StatusOf(in request));

            Fault fault = Assert.Single(rig.Faults());
            Assert.Equal(
                (FaultKind.GrantCopy, (byte)operation, code, 64UL),
                (fault.Kind, fault.Operation, fault.Code, fault.Sector)
            );
            if (operation == Blkif.OpRead)
                Assert.All(rig.Disk.Started[before..], started => Assert.Equal(DiskOperationKind.Read, started.Kind));
            else
                Assert.Equal(before, rig.Disk.Started.Length);
        }
        RequestKind kind = operation switch
        {
            Blkif.OpRead => RequestKind.Read,
            Blkif.OpWrite => RequestKind.Write,
            _ => RequestKind.Flush,
        };
        Assert.Equal(
            (0, 3, 0),
            (rig.Statistics[kind].Operations, rig.Statistics[kind].Failed, rig.Statistics[kind].Invalid)
        );
    }

    [Theory, EveryAbi]
    [Proves("B9")]
    public void A_bad_grant_spoils_no_other_request_of_the_pass(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        Blkif.DecodedRequest[] requests =
        [
            .. Enumerable.Range(0, 9).Select(i => rig.Request(Blkif.OpWrite, (ulong)i * 32, Requests.Pages(2))),
        ];
        Spoil(rig, ref requests[4].Seg[1], BadGrant.Revoked);
        foreach (ref Blkif.DecodedRequest request in requests.AsSpan())
        {
            rig.FillGuest(in request);
            rig.Put(in request);
        }
        rig.PushAndRun();
        Assert.Equal(1, rig.Witness.CopyCalls);
        foreach (Blkif.DecodedResponse response in rig.Responses())
            Assert.Equal(response.Id == requests[4].Id ? Blkif.RspError : Blkif.RspOkay, response.Status);
        for (int i = 0; i < requests.Length; i++)
            Assert.Equal(i == 4 ? new byte[16 * 512] : rig.GuestBytes(in requests[i]), rig.Disk.Sectors(i * 32, 16));
    }

    [Theory, EveryAbi]
    [Proves("B9")]
    public void A_copy_call_that_fails_as_a_whole_fails_every_request_of_the_pass(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        // The statuses of an earlier batch, which succeeded, are still in memory.
        for (int i = 0; i < 4; i++)
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpWrite, 0, Requests.Pages(11))));
        rig.Witness.RefuseCopies = true;
        foreach (int operation in Requests.WithSegments)
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 0, Requests.Pages(11))));
    }

    [Theory, EveryAbi(Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier)]
    [Proves("B9", "F5")]
    public void The_guests_pages_are_copied_before_the_disk_is_touched_and_land_in_order(
        BlkifProtocol protocol,
        int operation
    )
    {
        using Rig rig = new(protocol);
        int copiesAtFirstStart = -1;
        rig.Disk.OnStart = started =>
        {
            if (started.Number == 0)
                copiesAtFirstStart = rig.Witness.CopySegments;
            return rig.Disk.Perform(started);
        };
        Blkif.DecodedRequest request = rig.Request(operation, 200, (3, 7), (0, 7), (0, 0), (5, 6));
        rig.FillGuest(in request);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in request));
        Assert.Equal(4, copiesAtFirstStart);
        Assert.Equal(rig.GuestBytes(in request), rig.Disk.Sectors(200, 16));
        // The neighbours are as they were.
        Assert.DoesNotContain(rig.Disk.Sectors(199, 1), b => b != 0);
        Assert.DoesNotContain(rig.Disk.Sectors(216, 1), b => b != 0);
    }

    [Theory, EveryAbi]
    [Proves("B10")]
    public void A_read_fills_the_segments_and_nothing_beside_them(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        new Random(5).NextBytes(rig.Disk.Content);
        Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, 321, (3, 4), (0, 7), (7, 7), (0, 0));
        rig.FillGuest(in request);
        byte[][] before = Pages(rig, in request);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in request));
        byte[][] after = Pages(rig, in request);

        Assert.Equal(rig.Disk.Sectors(321, 12), rig.GuestBytes(in request));
        for (int i = 0; i < 4; i++)
        {
            Blkif.RequestSegment segment = request.Seg[i];
            Assert.Equal(before[i][..(segment.FirstSect * 512)], after[i][..(segment.FirstSect * 512)]);
            Assert.Equal(before[i][((segment.LastSect + 1) * 512)..], after[i][((segment.LastSect + 1) * 512)..]);
        }
    }

    [Theory, EveryAbi]
    [Proves("B10")]
    public void A_read_that_fails_leaves_the_guests_pages_alone(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        // It fails after half of it was read.
        rig.Disk.OnStart = operation => operation.Number == 0 ? rig.Disk.Perform(operation, 4096) : -Errno.EIO;
        Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, 0, Requests.Pages(2));
        rig.FillGuest(in request);
        byte[] before = rig.GuestBytes(in request);
        Assert.Equal(Blkif.RspError, rig.StatusOf(in request));
        Assert.Equal(2, rig.Disk.Started.Length);
        Assert.Equal(0, rig.Witness.CopyCalls);
        Assert.Equal(before, rig.GuestBytes(in request));
    }

    [Theory, EveryAbi]
    [Proves("B10")]
    public void A_grant_revoked_while_the_disk_reads_makes_the_read_an_error(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, 0, Requests.Pages(3));
        rig.Put(in request);
        rig.PushAndRun();
        rig.Domain.Revoke(new GrantReference(request.Seg[1].Gref));
        rig.FinishDisk();
        Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
        Assert.Equal(FaultKind.GrantCopy, Assert.Single(rig.Faults()).Kind);
    }

    private static int Spoil(Rig rig, ref Blkif.RequestSegment segment, BadGrant bad)
    {
        GrantReference reference = new(segment.Gref);
        switch (bad)
        {
            case BadGrant.BeyondTheTable:
                segment.Gref = (uint)rig.Domain.Memory.Grants;
                return GrantTable.GntstBadGntref;
            case BadGrant.Reserved:
                segment.Gref = 0;
                return GrantTable.GntstGeneralError;
            case BadGrant.OfAnotherDomain:
                rig.Domain.Regrant(reference, new DomainId(99), 0, readOnly: false);
                return GrantTable.GntstGeneralError;
            case BadGrant.Revoked:
                rig.Domain.Revoke(reference);
                return GrantTable.GntstGeneralError;
            case BadGrant.BeyondTheMemory:
                rig.Domain.Regrant(reference, rig.Domain.Backend, (uint)rig.Domain.Memory.Frames, readOnly: false);
                return GrantTable.GntstBadPage;
            default:
                rig.Domain.Regrant(reference, rig.Domain.Backend, 0, readOnly: true);
                return GrantTable.GntstGeneralError;
        }
    }

    private static byte[][] Pages(Rig rig, in Blkif.DecodedRequest request)
    {
        byte[][] pages = new byte[request.NrSegments][];
        for (int i = 0; i < pages.Length; i++)
            pages[i] = new ReadOnlySpan<byte>(
                rig.Frontend.BufferOf(rig.NumberOf(in request), i),
                GuestMemory.PageBytes
            ).ToArray();
        return pages;
    }
}
