using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>
/// A reactor without a thread: its owner decides when a round runs and what time it is, as a deterministic simulation
/// does.
/// </summary>
public sealed class DrivenReactorTests
{
    /// <summary>A kernel that reports events when it is told to.</summary>
    private sealed class HandWaiter : Waiter
    {
        public Queue<int> Events { get; } = new();
        public List<bool> Waits { get; } = [];
        public int Carried { get; private set; }
        public bool Disposed { get; private set; }

        public override string Describe() => "by hand";

        public override IoUring? Ring => null;

        public override void Enter() { }

        public override void Add(int index, VbdQueue queue) => Carried++;

        public override bool TryRemove(int index, VbdQueue queue) => --Carried >= 0;

        public override void Wait(ReadyQueues ready, bool block, long timeoutNs)
        {
            Waits.Add(block);
            while (Events.TryDequeue(out int index))
                ready.Mark(index);
        }

        public override void Wake() { }

        public override void Dispose() => Disposed = true;
    }

    [Theory, EveryAbi(true, false)]
    public void Nothing_happens_but_in_a_round_and_all_of_it_on_the_callers_thread(BlkifProtocol protocol, bool ioUring)
    {
        ScriptedDisk disk = new(4096);
        List<int> threads = [];
        disk.OnStart = operation =>
        {
            threads.Add(Environment.CurrentManagedThreadId);
            return disk.Perform(operation);
        };
        using Reactor reactor = new(new ReactorOptions { OwnThread = false, UseIoUring = ioUring });
        using Device device = new(reactor, protocol, disk);
        Blkif.DecodedResponse response = default;
        for (int request = 0; request < 3; request++)
        {
            device.Frontend.Put(Requests.Of(device.Frontend, request, Blkif.OpRead, 0, Requests.Pages(1)));
            device.Frontend.Push();
            Thread.Sleep(10);
            Assert.Equal(request, threads.Count);
            int rounds = 0;
            for (; !device.Frontend.TryTake(ref response); rounds++)
            {
                Assert.True(rounds < 100, "no answer after 100 rounds");
                reactor.RunOnce();
            }
            Assert.Equal((Blkif.RspOkay, request + 1), (response.Status, threads.Count));
        }
        Assert.All(threads, thread => Assert.Equal(Environment.CurrentManagedThreadId, thread));
    }

    [Fact]
    public void A_round_never_blocks_and_serves_the_queues_that_the_kernel_reports()
    {
        HandWaiter waiter = new();
        ScriptedDisk first = new(4096),
            second = new(4096);
        using (Reactor reactor = new(new ReactorOptions { OwnThread = false }, waiter))
        {
            using Device left = new(reactor, BlkifProtocol.X86_64, first, domain: 1),
                right = new(reactor, BlkifProtocol.X86_64, second, domain: 2);
            Assert.Equal(2, waiter.Carried);
            // The first pass after a queue was added finds its ring empty.
            reactor.RunOnce();
            foreach (Device device in (Device[])[left, right])
            {
                device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
                device.Frontend.Push();
            }

            waiter.Events.Enqueue(1);
            reactor.RunOnce();
            reactor.RunOnce();
            Assert.Equal((0, 1), (first.UnderWay.Length, second.UnderWay.Length));
            waiter.Events.Enqueue(0);
            reactor.RunOnce();
            reactor.RunOnce();
            Assert.Equal((1, 1), (first.UnderWay.Length, second.UnderWay.Length));
            Assert.All(waiter.Waits, Assert.False);
            first.CompleteAll();
            second.CompleteAll();
            reactor.Kick(left.Queue);
            reactor.Kick(right.Queue);
            Assert.True(left.Vbd.Stop(Wait.Limit) && right.Vbd.Stop(Wait.Limit));
        }
        Assert.Equal((0, true), (waiter.Carried, waiter.Disposed));
    }

    [Fact]
    public void A_queue_that_cannot_be_drained_is_given_up_when_the_clock_says_so()
    {
        HandClock clock = new();
        HandWaiter waiter = new();
        ScriptedDisk disk = new(4096);
        using Reactor reactor = new(new ReactorOptions { OwnThread = false, Clock = clock }, waiter);
        using Device device = new(reactor, BlkifProtocol.X86_64, disk);
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();
        reactor.RunOnce();

        // Each round takes a second on this clock, so an hour of rounds passes at once.
        clock.Reading = TimeSpan.FromSeconds(1);
        int before = waiter.Waits.Count;
        Assert.False(reactor.Drain(device.Queue, TimeSpan.FromHours(1)));
        Assert.InRange(waiter.Waits.Count - before, 3000, 3601);
        disk.CompleteAll();
        reactor.Kick(device.Queue);
        Assert.True(reactor.Drain(device.Queue, TimeSpan.FromHours(1)));
    }

    [Theory, EveryAbi]
    public void Idle_grants_are_released_when_the_clock_says_so(BlkifProtocol protocol)
    {
        HandClock clock = new();
        using Reactor reactor = new(new ReactorOptions { OwnThread = false, Clock = clock });
        using Device device = new(
            reactor,
            protocol,
            new MemoryDisk(4096),
            options: new VbdOptions { GrantMode = GrantMode.Persistent, PersistentIdle = TimeSpan.FromMinutes(1) }
        );
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpWrite, 0, Requests.Pages(3)));
        device.Frontend.Push();
        Run(5000);
        Assert.Equal((3, 0), Pages());

        clock.Advance(TimeSpan.FromSeconds(11));
        Run(5000);
        Assert.Equal((3, 0), Pages());
        clock.Advance(TimeSpan.FromMinutes(2));
        Run(5000);
        Assert.Equal((3, 3), Pages());

        void Run(int rounds)
        {
            while (rounds-- > 0)
                reactor.RunOnce();
        }
        (long, long) Pages() => (device.Queue.Statistics.GrantMapPages, device.Queue.Statistics.GrantUnmapPages);
    }

    [Fact]
    public void The_channel_of_a_frontend_that_only_sends_events_is_unmasked_when_the_clock_says_so()
    {
        HandClock clock = new();
        HandWaiter waiter = new();
        using Rig rig = new(BlkifProtocol.X86_64, new RigOptions { Clock = clock });
        using Reactor reactor = new(new ReactorOptions { OwnThread = false, Clock = clock }, waiter);
        reactor.Add(rig.Queue);
        reactor.RunOnce();
        Assert.Equal(1, UnmasksAfterEvent());
        for (int doubling = 0; doubling < 10; doubling++)
        {
            Assert.Equal(doubling + 1, UnmasksAfterEvent());
            clock.Advance(TimeSpan.FromMilliseconds((1 << doubling) - 0.5));
            reactor.RunOnce();
            Assert.Equal(doubling + 1, rig.Witness.Unmasks);
            clock.Advance(TimeSpan.FromMilliseconds(1));
            reactor.RunOnce();
            Assert.Equal(doubling + 2, rig.Witness.Unmasks);
        }
        Assert.True(reactor.Remove(rig.Queue, Wait.Limit));

        int UnmasksAfterEvent()
        {
            rig.Queue.ConsumeEvent();
            waiter.Events.Enqueue(0);
            reactor.RunOnce();
            reactor.RunOnce();
            return rig.Witness.Unmasks;
        }
    }

    [Fact]
    public void A_reactor_with_a_thread_is_not_driven_by_others()
    {
        using Reactor reactor = new();
        Assert.Throws<InvalidOperationException>(reactor.RunOnce);
        Reactor gone = new(new ReactorOptions { OwnThread = false });
        gone.Dispose();
        Assert.Throws<ObjectDisposedException>(gone.RunOnce);
    }

    /// <summary>
    /// Two threads request passes while a third takes them: the last request of each queue is never lost.
    /// </summary>
    [Fact]
    public void A_requested_pass_is_never_missed()
    {
        const int Requested = 200_000;
        HandWaiter waiter = new();
        PassRequests requests = new(2, waiter);
        ReadyQueues ready = new(2);
        // Before each request its queue has one more thing to do; a pass takes all there is to do.
        int[] toDo = new int[2],
            done = new int[2];
        Thread[] callers =
        [
            .. Enumerable
                .Range(0, 2)
                .Select(queue => new Thread(() =>
                {
                    for (int i = 0; i < Requested; i++)
                    {
                        Interlocked.Increment(ref toDo[queue]);
                        requests.Request(queue);
                    }
                })),
        ];
        foreach (Thread caller in callers)
            caller.Start();
        for (bool last = false; !last; )
        {
            last = callers.All(caller => !caller.IsAlive);
            if (!requests.Any)
                continue;
            requests.MarkInto(ready, 2);
            while (ready.Count > 0)
            {
                int queue = ready.Take();
                done[queue] += Interlocked.Exchange(ref toDo[queue], 0);
            }
        }
        Assert.Equal([Requested, Requested], done);

        requests.Close();
        requests.Request(0);
        Assert.False(requests.Any);
    }
}
