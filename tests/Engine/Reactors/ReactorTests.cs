using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>B20: any number of devices on a thread, or a thread for each.</summary>
public sealed class ReactorTests
{
    [Theory, EveryAbi(true, false)]
    [Proves("B20")]
    public void Two_devices_share_one_thread(BlkifProtocol protocol, bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { Name = "shared", UseIoUring = ioUring });
        Assert.Equal(["shared"], ServeTwo(protocol, reactor, reactor));
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B20")]
    public void Two_devices_have_a_thread_each(BlkifProtocol protocol, bool ioUring)
    {
        using Reactor first = new(new ReactorOptions { Name = "first", UseIoUring = ioUring });
        using Reactor second = new(new ReactorOptions { Name = "second", UseIoUring = ioUring });
        Assert.Equal(["first", "second"], ServeTwo(protocol, first, second));
    }

    [Fact]
    [Proves("B20")]
    public void A_thread_stays_on_the_cpu_it_is_given()
    {
        int cpu = CpuAffinity.Allowed()[^1];
        using Reactor reactor = new(new ReactorOptions { Cpu = cpu });
        int[] allowed = [];
        reactor.Invoke(() => allowed = CpuAffinity.Allowed());
        Assert.Equal([cpu], allowed);
    }

    [Fact]
    public void A_cpu_that_does_not_exist_is_heard_of_where_it_was_asked_for_and_leaves_nothing_behind()
    {
        Assert.Throws<IOException>(() => new Reactor(new ReactorOptions { Cpu = 8191 }));
        int before = ThisProcess.OpenDescriptors();
        for (int i = 0; i < 5; i++)
            Assert.Throws<IOException>(() => new Reactor(new ReactorOptions { Cpu = 8191, Name = "nowhere" }));
        Assert.Equal(before, ThisProcess.OpenDescriptors());
        Assert.DoesNotContain("nowhere", ThreadNames());
    }

    [Fact]
    public void A_reactor_that_goes_takes_its_thread_and_descriptors_along()
    {
        using (new Reactor(new ReactorOptions { Name = "passing" }))
            Assert.Contains("passing", ThreadNames());
        int before = ThisProcess.OpenDescriptors();
        for (int i = 0; i < 5; i++)
            new Reactor(new ReactorOptions { Name = "passing" }).Dispose();
        Assert.Equal(before, ThisProcess.OpenDescriptors());
        Assert.DoesNotContain("passing", ThreadNames());
    }

    [Fact]
    [Proves("B20")]
    public void It_carries_as_many_queues_as_it_was_made_for_and_their_places_are_used_again()
    {
        using Reactor reactor = new(new ReactorOptions { MaxQueues = 2 });
        using Device stays = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096));
        for (int round = 0; round < 5; round++)
        {
            using Device comes = new(reactor, BlkifProtocol.X86_32, new MemoryDisk(4096));
            Assert.Throws<InvalidOperationException>(() =>
                new Device(reactor, BlkifProtocol.X86_64, new MemoryDisk(8))
            );
            Assert.True(comes.Work(TimeSpan.FromMilliseconds(5)).IsRight);
        }
        Assert.True(stays.Work(TimeSpan.FromMilliseconds(5)).IsRight);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_disk_that_says_eagain_is_asked_again_without_an_event(bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        ScriptedDisk disk = new(4096);
        disk.OnStart = operation => operation.Number < 10 ? -Errno.EAGAIN : disk.Perform(operation);
        using Device device = new(reactor, BlkifProtocol.X86_64, disk);
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();
        Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status);
        Assert.Equal(10, device.Queue.Statistics.Retries);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Proves("B15")]
    public void A_thread_that_never_sleeps_still_asks_for_the_event_behind_a_slow_request(bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        ScriptedDisk slow = new(4096);
        using Device device = new(reactor, BlkifProtocol.X86_64, slow);
        using RestlessQueue restless = new();
        reactor.Add(restless);

        for (int posted = 1; posted <= 3; posted++)
        {
            device.Frontend.Put(Requests.Of(device.Frontend, posted - 1, Blkif.OpRead, 0, Requests.Pages(1)));
            device.Frontend.Push();
            Wait.Until(() => slow.UnderWay.Length == posted, $"request {posted} to reach the disk");
        }

        Assert.True(reactor.Remove(restless, Wait.Limit));
        reactor.Invoke(slow.CompleteAll);
        reactor.Kick(device.Queue);
        Assert.Equal(3, Wait.ForResponses(device.Frontend, 3).Count);
    }

    /// <summary>A queue that always wants a further turn: its thread never gets to sleep.</summary>
    private sealed unsafe class RestlessQueue : VbdQueue
    {
        private readonly EventFd _silence = new(blocking: true);
        private bool _attached;

        public override long OldestTakenAt => 0;
        public override int InFlight => 0;
        public override bool IsQuiet => true;
        public override int LostErrno => 0;

        public override void FailLost() { }

        public override bool IsBroken => false;
        public override bool IsAttached => _attached;

        public override void AttachRing() => _attached = true;

        public override void DetachRing() => _attached = false;

        public override PassResult RunPass(bool frontendHasOwnCpu) => _attached ? PassResult.More : PassResult.Idle;

        public override bool HasRequests => true;
        public override bool HasUnanswered => true;

        public override bool FinalCheckForRequests() => false;

        public override void NotifyFrontend() { }

        internal override void AttachDisk(ushort queueIndex, IoUring? ring, Action? wake = null) =>
            _tag = (ulong)queueIndex << 48 | (ulong)EventSlot << 32;

        internal override void DetachDisk() { }

        private ulong _tag;

        internal override uint TakeCompletions(IoUring ring, uint head, uint tail)
        {
            EventWaitCompleted = true;
            return head + 1;
        }

        internal override int EventDescriptor => _silence.Value;

        internal override void PrepareEventWait(io_uring_sqe* sqe)
        {
            sqe->opcode = IoUringAbi.IORING_OP_POLL_ADD;
            sqe->fd = _silence.Value;
            sqe->poll32_events = (uint)Libc.POLLIN;
            sqe->user_data = _tag;
        }

        internal override void ConsumeEvent() { }

        internal override long UnmaskEvents() => 0;

        protected override void Dispose(bool disposing) => _silence.Dispose();
    }

    // Every pause of the test fits into this window, so polling pays. Without a window it never does.
    [Theory]
    [InlineData(10, (int)Admission.LeastShare)]
    [InlineData(0, 32)]
    public void Passes_are_parted_where_looking_for_work_pays(int windowSeconds, int largest)
    {
        using Reactor reactor = new(new ReactorOptions { PollWindow = TimeSpan.FromSeconds(windowSeconds) });
        Assert.True(reactor.UsesIoUring, reactor.Describe());
        using Device device = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096));
        for (int round = 0; round < 10; round++)
        {
            for (int i = 0; i < device.Frontend.EntryCount; i++)
                device.Frontend.Put(Requests.Of(device.Frontend, i, Blkif.OpRead, 0, Requests.Pages(1)));
            device.Frontend.Push();
            Assert.All(
                Wait.ForResponses(device.Frontend, device.Frontend.EntryCount),
                response => Assert.Equal(Blkif.RspOkay, response.Status)
            );
        }
        Assert.Equal(largest, device.Queue.Statistics.BatchSize.Max);
    }

    [Fact]
    public void A_submission_queue_smaller_than_the_ring_of_requests_is_no_limit()
    {
        using TempImage image = new(4096);
        using Reactor reactor = new(
            new ReactorOptions
            {
                Ring = new IoUringOptions
                {
                    SubmissionEntries = 2,
                    CompletionEntries = 4,
                    RegisteredFiles = 0,
                    RegisteredBuffers = 0,
                },
            }
        );
        Assert.True(reactor.UsesIoUring, reactor.Describe());
        using Device device = new(reactor, BlkifProtocol.X86_64, image.Open(), ringPages: 16);
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(300), depth: 512);
        Assert.True(result.IsRight, result.FirstProblem);
    }

    [Fact]
    public void What_a_command_throws_is_thrown_where_it_was_given()
    {
        using Reactor reactor = new();
        Assert.Equal(
            "as asked",
            Assert.Throws<FormatException>(() => reactor.Invoke(() => throw new FormatException("as asked"))).Message
        );
        using Rig stranger = new(BlkifProtocol.X86_64);
        Assert.Throws<InvalidOperationException>(() => reactor.Resume(stranger.Queue));
        Assert.Throws<InvalidOperationException>(() => reactor.Kick(stranger.Queue));
        // A queue that was never added, or was removed, has nothing in flight.
        Assert.True(reactor.Drain(stranger.Queue, TimeSpan.Zero));
        Assert.True(reactor.Remove(stranger.Queue, TimeSpan.Zero));
        // The reactor goes on.
        bool ran = false;
        reactor.Invoke(() => ran = true);
        Assert.True(ran);
    }

    /// <summary>
    /// Serves a disk on each reactor at the same time. Returns the names of the threads that used the disks.
    /// </summary>
    private static string[] ServeTwo(BlkifProtocol protocol, Reactor first, Reactor second)
    {
        System.Collections.Concurrent.ConcurrentDictionary<string, bool> threads = new();
        ScriptedDisk Disk()
        {
            ScriptedDisk disk = new(4096);
            disk.OnStart = operation =>
            {
                threads[Thread.CurrentThread.Name ?? "?"] = true;
                return disk.Perform(operation);
            };
            return disk;
        }

        using Device left = new(first, protocol, Disk(), domain: 1);
        using Device right = new(second, protocol, Disk(), domain: 2);
        WorkloadResult? leftResult = null;
        Thread guest = new(() => leftResult = left.Work(TimeSpan.FromMilliseconds(50), seed: 1));
        guest.Start();
        WorkloadResult rightResult = right.Work(TimeSpan.FromMilliseconds(50), seed: 2);
        // A workload ends by itself, at the latest when its backend has not answered for too long.
        guest.Join();
        Assert.True(leftResult!.IsRight, leftResult.FirstProblem);
        Assert.True(rightResult.IsRight, rightResult.FirstProblem);
        Assert.True(leftResult.Operations > 0 && rightResult.Operations > 0);
        return [.. threads.Keys.Order()];
    }

    private static string[] ThreadNames() =>
        [.. Directory.GetDirectories("/proc/self/task").Select(task => ReadOrNothing(Path.Combine(task, "comm")))];

    // A thread may end after it was listed.
    private static string ReadOrNothing(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (IOException)
        {
            return "";
        }
    }
}
