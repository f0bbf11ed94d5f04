using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Engine.Xen;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Xen;

/// <summary>
/// A guest reached through Xen's libraries, which fakexen.c replaces: their errors, masked events, and what is held.
/// </summary>
public sealed class XenTests
{
    [Theory, EveryAbi(true, false)]
    public void A_guest_is_served_and_nothing_of_it_stays(BlkifProtocol protocol, bool ioUring)
    {
        // Without busy polling: this test is about events, and polling needs few.
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring, PollWindow = TimeSpan.Zero });
        using Guest guest = new(reactor, protocol, ringPages: 4);
        // Twice, as for a guest that reboots. With one request in flight each needs a wake-up, which could be lost.
        for (int connection = 0; connection < 2; connection++)
        {
            guest.Connect();
            Assert.Equal((4, 1), (FakeXen.Count(FakeCount.Mapped), FakeXen.Count(FakeCount.Bound)));
            int copies = FakeXen.Count(FakeCount.Copies),
                notifies = FakeXen.Count(FakeCount.Notifies),
                unmasks = FakeXen.Count(FakeCount.Unmasks);
            guest.Work(depth: 1);
            guest.Work(depth: 32);
            QueueStatistics statistics = guest.Vbd.Queue!.Statistics;
            Assert.Equal(statistics.GrantCopyCalls, FakeXen.Count(FakeCount.Copies) - copies);
            Assert.Equal(statistics.Notifications, FakeXen.Count(FakeCount.Notifies) - notifies);
            Assert.True(FakeXen.Count(FakeCount.Unmasks) - unmasks > 100);
            guest.Disconnect();
            Assert.Equal(
                (0, 0, 0),
                (FakeXen.Count(FakeCount.Mapped), FakeXen.Count(FakeCount.Bound), FakeXen.Count(FakeCount.Handles))
            );
        }
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void A_guest_whose_pages_are_mapped_is_served_and_nothing_of_it_stays(BlkifProtocol protocol, GrantMode mode)
    {
        const int ringPages = 2;
        using Reactor reactor = new();
        using Guest guest = new(reactor, protocol, ringPages, mode);
        for (int connection = 0; connection < 2; connection++)
        {
            guest.Connect();
            guest.Work(depth: 1);
            guest.Work(depth: 32);
            QueueStatistics statistics = guest.Vbd.Queue!.Statistics;
            Assert.True(statistics.GrantMapPages > 0);
            Assert.Equal(0, statistics.GrantCopyCalls);
            Assert.Equal(mode == GrantMode.Persistent, statistics.GrantMapPages > statistics.GrantUnmapPages);
            Assert.Equal(
                ringPages + statistics.GrantMapPages - statistics.GrantUnmapPages,
                FakeXen.Count(FakeCount.Mapped)
            );
            guest.Disconnect();
            Assert.Equal(
                (0, 0, 0),
                (FakeXen.Count(FakeCount.Mapped), FakeXen.Count(FakeCount.Bound), FakeXen.Count(FakeCount.Handles))
            );
        }
    }

    [Theory, EveryAbi(GrantMode.Map, GrantMode.Persistent)]
    public void Pages_that_cannot_be_mapped_fail_their_requests_and_the_next_are_served(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, protocol, ringPages: 1, mode);
        guest.Connect();
        FakeXen.Fail(FakeFailure.Map, Errno.ENOMEM);
        int[] statuses =
        [
            .. Post(guest.Frontend, Blkif.OpRead, Blkif.OpWrite, Blkif.OpRead).Select(response => (int)response.Status),
        ];
        Assert.Equal([Blkif.RspError, Blkif.RspError, Blkif.RspError], statuses);
        Assert.Equal(1, FakeXen.Count(FakeCount.Mapped));

        FakeXen.Fail(FakeFailure.Map, 0);
        guest.Work(depth: 8);
    }

    [Fact]
    public void Pages_that_cannot_be_unmapped_are_told_and_their_requests_are_served()
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1, GrantMode.Map);
        guest.Connect();
        FakeXen.Fail(FakeFailure.Unmap, Errno.ENOENT);
        Assert.Equal(Blkif.RspOkay, Assert.Single(Post(guest.Frontend, Blkif.OpRead)).Status);
        FakeXen.Fail(FakeFailure.Unmap, 0);
        Assert.True(guest.Vbd.Queue!.Faults.TryRead(out Fault fault));
        Assert.Equal((FaultKind.GrantUnmap, 1, false), (fault.Kind, fault.Pages, fault.IsOfRequest));
        Assert.Matches("^1 page\\(s\\) stay mapped: GNTST_[a-z_]+$", fault.Describe());
        Assert.Equal(2, FakeXen.Count(FakeCount.Mapped));
        guest.Work(depth: 8);
        guest.Disconnect();
        Assert.Equal(0, FakeXen.Count(FakeCount.Mapped));
    }

    [Theory]
    [InlineData(GrantMode.Copy)]
    [InlineData(GrantMode.Map)]
    [InlineData(GrantMode.Persistent)]
    public void The_data_path_makes_no_garbage(GrantMode mode)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1, mode);
        guest.Connect();
        VerifiedWorkload workload = guest.NewWorkload();
        // Until every method has reached its last tier.
        for (int part = 0; part < 4; part++)
            Assert.True(workload.Run(16, TimeSpan.FromMilliseconds(300)).IsRight);
        long before = reactor.AllocatedBytes,
            answered = guest.Vbd.Queue!.Statistics.Answered;
        Assert.True(workload.Run(1, TimeSpan.FromMilliseconds(200)).IsRight);
        Assert.True(workload.Run(16, TimeSpan.FromMilliseconds(200)).IsRight);
        Assert.True(guest.Vbd.Queue.Statistics.Answered - answered > 1000);
        Assert.Equal(0, reactor.AllocatedBytes - before);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(16, 8)]
    [InlineData(16, 15)]
    public void A_ring_page_that_cannot_be_mapped_fails_the_connection_and_leaves_nothing(int pages, int bad)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, pages);
        GrantReference reference = guest.Frontend.RingReferences[bad];
        guest.Domain.Revoke(reference);
        AssertRefused(guest, $"domain {guest.Domain.Id} cannot be mapped read-write: EINVAL");

        guest.Domain.Regrant(reference, guest.Domain.Backend, (uint)bad, readOnly: false);
        guest.Connect();
        guest.Work(depth: 8);
    }

    [Fact]
    public void An_event_channel_that_cannot_be_bound_fails_the_connection_and_leaves_nothing_mapped()
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 2);
        VbdConnection offer = guest.Frontend.Connection;
        guest.Offer = offer with { Rings = [offer.Rings[0] with { EventChannel = new EventChannelPort(7) }] };
        AssertRefused(guest, $"event channel 7 of domain {guest.Domain.Id} cannot be bound: EINVAL");
    }

    [Theory]
    [InlineData(nameof(FakeFailure.EvtchnOpen), Errno.EMFILE, "/dev/xen/evtchn: EMFILE")]
    [InlineData(nameof(FakeFailure.GnttabOpen), Errno.ENFILE, "/dev/xen/gntdev: ENFILE")]
    [InlineData(nameof(FakeFailure.MaxGrants), Errno.ENOMEM, "grants cannot be mapped at a time: ENOMEM")]
    public void A_call_that_fails_while_connecting_leaves_nothing(string failure, int errno, string message)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 2);
        FakeXen.Fail(Enum.Parse<FakeFailure>(failure), errno);
        AssertRefused(guest, message);
    }

    [Theory]
    [InlineData(nameof(FakeFailure.EvtchnOpen), Errno.ENOENT, "/dev/xen/evtchn: ENOENT")]
    [InlineData(nameof(FakeFailure.GnttabOpen), Errno.EACCES, "run as root")]
    [InlineData(nameof(FakeFailure.Copy), Errno.ENOTTY, "Linux 4.8 or later is needed")]
    public void Without_a_Xen_to_work_with_one_line_says_why(string failure, int errno, string message)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1);
        FakeXen.Fail(Enum.Parse<FakeFailure>(failure), errno);
        XenUnavailableException error = Assert.Throws<XenUnavailableException>(() => XenHypervisor.Open());
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.Equal(0, FakeXen.Count(FakeCount.Handles));
    }

    [Theory]
    [InlineData("PV\n", true)]
    [InlineData("PVH\n", false)]
    [InlineData(null, false)]
    public void Pinned_pages_are_lost_where_the_kernel_says_that_its_domain_is_PV(string? guestType, bool expected)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1);
        List<string> asked = [];
        XenHypervisor hypervisor = XenHypervisor.Open(path =>
        {
            asked.Add(path);
            return guestType;
        });
        Assert.Equal(expected, hypervisor.LosesPinnedPages);
        // A PV domain takes two entries of the hypervisor's table for a page.
        Assert.Equal(expected ? 131_072 : 262_144, hypervisor.MappableGrants);
        Assert.Equal(["/sys/hypervisor/guest_type"], asked);
    }

    [Theory, EveryAbi]
    public void A_copy_that_fails_as_a_whole_fails_every_request_of_the_pass(BlkifProtocol protocol)
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, protocol, ringPages: 1);
        guest.Connect();
        FakeXen.Fail(FakeFailure.Copy, Errno.EFAULT);
        int[] statuses =
        [
            .. Post(guest.Frontend, Blkif.OpRead, Blkif.OpWrite, Blkif.OpRead).Select(response => (int)response.Status),
        ];
        Assert.Equal([Blkif.RspError, Blkif.RspError, Blkif.RspError], statuses);

        FakeXen.Fail(FakeFailure.Copy, 0);
        guest.Work(depth: 8);
    }

    [Fact]
    public void A_notification_that_fails_loses_no_response_and_harms_nobody()
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1);
        guest.Connect();
        FakeXen.Fail(FakeFailure.Notify, Errno.ENOTCONN);
        int before = FakeXen.Count(FakeCount.Notifies);
        guest.Frontend.Put(Requests.Of(guest.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        guest.Frontend.Push();
        Wait.Until(() => FakeXen.Count(FakeCount.Notifies) > before, "the notification that fails");
        Blkif.DecodedResponse response = default;
        Assert.True(guest.Frontend.TryTake(ref response));
        Assert.Equal(Blkif.RspOkay, response.Status);

        FakeXen.Fail(FakeFailure.Notify, 0);
        guest.Work(depth: 1);
    }

    [Fact]
    public void Taking_an_event_that_is_not_there_does_not_wait()
    {
        using Reactor reactor = new();
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1);
        using XenRingAccess access = (XenRingAccess)XenHypervisor.Open().OpenRing(guest.Domain.Id);
        access.BindEventChannel(guest.Frontend.Channel.Port);
        int empty = FakeXen.Count(FakeCount.EmptyPendings);
        Thread taker = new(() =>
        {
            // The first is the one that binding raises.
            access.EventChannel.Consume();
            access.EventChannel.Consume();
        });
        taker.Start();
        Assert.True(taker.Join(Wait.Limit));
        Assert.Equal(1, FakeXen.Count(FakeCount.EmptyPendings) - empty);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_guest_that_notifies_without_end_is_heard_once_a_turn_and_not_at_all_while_paused(bool ioUring)
    {
        // A thread that polls leaves the channel masked. Paused in this state it would miss every event.
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring, PollWindow = TimeSpan.Zero });
        using Guest guest = new(reactor, BlkifProtocol.X86_64, ringPages: 1);
        guest.Connect();
        guest.Work(depth: 1);
        int before = FakeXen.Count(FakeCount.Pendings);
        // The thread is kept busy. All notifications meanwhile are one event, and one more may be pending.
        reactor.Invoke(() =>
        {
            for (int i = 0; i < 1000; i++)
                guest.Frontend.Notify();
        });
        guest.Work(depth: 1, TimeSpan.Zero);
        AwaitPendingAfter(before);
        Settle(reactor);
        Assert.InRange(FakeXen.Count(FakeCount.Pendings) - before, 1, 3);

        Assert.True(guest.Vbd.Pause(Wait.Limit));
        before = FakeXen.Count(FakeCount.Pendings);
        for (int i = 0; i < 20; i++)
        {
            guest.Frontend.Notify();
            Settle(reactor);
        }
        AwaitPendingAfter(before);
        Settle(reactor);
        Assert.Equal(1, FakeXen.Count(FakeCount.Pendings) - before);
        guest.Vbd.Resume();
        guest.Work(depth: 1);
    }

    // A busy thread answers an Invoke before it asks the kernel for events. So one round does not mean that it has seen
    // them.
    private static void AwaitPendingAfter(int before) =>
        Wait.Until(() => FakeXen.Count(FakeCount.Pendings) > before, "the event was never heard");

    /// <summary>Waits for two rounds of the reactor, after which it has seen every event.</summary>
    private static void Settle(Reactor reactor)
    {
        for (int i = 0; i < 3; i++)
            reactor.Invoke(() => { });
    }

    private static void AssertRefused(Guest guest, string message)
    {
        Refuse();
        int before = ThisProcess.OpenDescriptors();
        for (int i = 0; i < 3; i++)
            Refuse();
        Assert.Equal(before, ThisProcess.OpenDescriptors());

        void Refuse()
        {
            VbdConnectException error = Assert.Throws<VbdConnectException>(guest.Connect);
            Assert.Contains(message, error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', error.Message);
            Assert.Equal(
                (0, 0, 0),
                (FakeXen.Count(FakeCount.Mapped), FakeXen.Count(FakeCount.Bound), FakeXen.Count(FakeCount.Handles))
            );
        }
    }

    private static List<Blkif.DecodedResponse> Post(Frontend frontend, params int[] operations)
    {
        for (int i = 0; i < operations.Length; i++)
            frontend.Put(Requests.Of(frontend, i, operations[i], (ulong)(i * 8), Requests.Pages(1)));
        frontend.Push();
        return Wait.ForResponses(frontend, operations.Length);
    }

    /// <summary>A loopback guest that is reached through the libraries only.</summary>
    private sealed class Guest : IDisposable
    {
        private const long Sectors = 4096;
        private readonly MemoryDisk _disk = new(Sectors);
        private readonly XenHypervisor _hypervisor;
        private readonly BlkifProtocol _protocol;
        private readonly SectorModel _model = new(Sectors, seed: 1);
        private VerifiedWorkload? _workload;

        public Guest(Reactor reactor, BlkifProtocol protocol, int ringPages, GrantMode mode = GrantMode.Copy)
        {
            _protocol = protocol;
            Domain = Frontend.CreateDomain(new DomainId(7), ringPages);
            Frontend = Frontend.Create(Domain, protocol, ringPages);
            Frontend.PersistentGrants = true;
            Offer = Frontend.Connection;
            FakeXen.Attach(Domain);
            _hypervisor = XenHypervisor.Open();
            Vbd = new Vbd(_disk, reactor, new VbdOptions { GrantMode = mode });
        }

        public LoopbackDomain Domain { get; }
        public Frontend Frontend { get; }
        public VbdConnection Offer { get; set; }
        public Vbd Vbd { get; }

        public void Connect() => Vbd.Connect(Offer with { Takeover = _workload is not null }, _hypervisor);

        public void Disconnect() => Assert.True(Vbd.Stop(Wait.Limit));

        public VerifiedWorkload NewWorkload() =>
            _workload = new VerifiedWorkload(
                Frontend,
                new WorkloadOptions
                {
                    Sectors = Sectors,
                    Model = _model,
                    DiscardZeroes = Vbd.Disk.DiscardZeroes,
                    SilenceMs = Wait.LimitMs,
                }
            );

        public void Work(int depth, TimeSpan? duration = null)
        {
            WorkloadResult result = (_workload ?? NewWorkload()).Run(depth, duration ?? TimeSpan.FromMilliseconds(50));
            Assert.True(result.IsRight, $"{_protocol}: {result.FirstProblem}");
        }

        public void Dispose()
        {
            if (!Vbd.Stop(Wait.Limit))
            {
                // A thread still uses the memory.
                Violations.Report("the device did not stop");
                return;
            }
            Domain.Dispose();
            _disk.Dispose();
        }
    }
}
