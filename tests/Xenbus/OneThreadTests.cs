using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xenbus;
using Blkring.Loopback;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// The seams of the control plane: with a clock, a store and steps of its own it runs on one thread, and nothing in it
/// waits for real time.
/// </summary>
public sealed class OneThreadTests : IDisposable
{
    private readonly OneThread _thread = new();
    private readonly MemoryXenstore _xenstore = new();
    private readonly LoopbackHypervisor _hypervisor = new();
    private readonly Reactor _reactor = new(new ReactorOptions { OwnThread = false });
    private readonly TestLog _log = new();
    private IXenstore _store;
    private readonly Toolstack _toolstack;
    private readonly Guest _guest;
    private readonly XenbusBackend _backend;
    private readonly List<string> _opened = [];

    public OneThreadTests()
    {
        _store = _xenstore.Connect();
        _toolstack = new Toolstack(() => _store);
        _guest = new Guest(() => _store, _hypervisor, World.NewId());
        BackendOptions options = new()
        {
            // Not within these tests.
            GrowthInterval = TimeSpan.FromHours(1),
            OpenImage = (path, _) =>
            {
                _opened.Add(path);
                return new MemoryDisk(World.Sectors);
            },
        };
        _thread.WhileSleeping = _reactor.RunOnce;
        _backend = new XenbusBackend(options, _xenstore.Connect, _hypervisor, _reactor, _log, _thread.Runtime);
    }

    public void Dispose()
    {
        _backend.Dispose();
        _reactor.Dispose();
        _guest.Dispose();
    }

    private XenbusState State => _toolstack.BackendState(_guest.Id);

    private void Start()
    {
        _backend.Start();
        _thread.Settle();
    }

    private void Attach()
    {
        _toolstack.Attach(_guest.Id, new DiskRequest { Params = "aio:/images/disk.img" });
        _thread.Settle();
    }

    private unsafe void WriteAndReadBack()
    {
        Span<byte> page = new(_guest.Frontend.BufferOf(0, 0), 4096);
        page.Fill(0xa5);
        Assert.Equal(Blkif.RspOkay, Answer(Blkif.OpWrite));
        page.Clear();
        Assert.Equal(Blkif.RspOkay, Answer(Blkif.OpRead));
        Assert.Equal(-1, page.IndexOfAnyExcept((byte)0xa5));
    }

    /// <summary>Posts a request of a page and runs the reactor until it is answered.</summary>
    private int Answer(int operation)
    {
        Frontend frontend = _guest.Frontend;
        Blkif.DecodedRequest request = new()
        {
            Operation = (byte)operation,
            SectorNumber = 8,
            NrSegments = 1,
        };
        request.Seg[0].Gref = frontend.GrantOf(0, 0, readOnly: false).Value;
        request.Seg[0].LastSect = 7;
        frontend.Put(in request);
        frontend.Push();
        Blkif.DecodedResponse response = default;
        for (int rounds = 0; !frontend.TryTake(ref response); rounds++)
        {
            Assert.True(rounds < 1000, "the request is answered");
            _reactor.RunOnce();
        }
        return response.Status;
    }

    [Fact]
    public void A_device_is_attached_served_and_detached_on_one_thread()
    {
        Start();
        Attach();
        Assert.Equal(XenbusState.InitWait, State);
        Assert.Equal(["/images/disk.img"], _opened);
        _guest.Publish();
        _thread.Settle();
        Assert.Equal(XenbusState.Connected, State);
        _guest.SetState(XenbusState.Connected);
        WriteAndReadBack();

        _toolstack.Detach(_guest.Id);
        _thread.Settle();
        Assert.Equal(XenbusState.Closing, State);
        _guest.SetState(XenbusState.Closed);
        _thread.Settle();
        Assert.Equal(XenbusState.Closed, State);
        Assert.False(_guest.AnyMapped);
        _toolstack.RemoveAreas(_guest.Id);
        _thread.Settle();
        Assert.Empty(_backend.Devices);
        Assert.Empty(_log.Errors);
    }

    [Fact]
    public void A_lost_store_is_connected_again_after_50_ms_at_first_and_2_s_at_last()
    {
        Start();
        _xenstore.Kill();
        _thread.Settle();
        Assert.False(_backend.HasStore);
        List<int> delays = [];
        int connects = _xenstore.Connects;
        for (int last = 0, now = 0; delays.Count < 8; )
        {
            _thread.Advance(TimeSpan.FromMilliseconds(1));
            now++;
            if (_xenstore.Connects == connects)
                continue;
            delays.Add(now - last);
            (last, connects) = (now, _xenstore.Connects);
        }
        Assert.Equal([50, 100, 200, 400, 800, 1600, 2000, 2000], delays);
        Assert.Single(_log.Lines, line => line.Contains("xenstore is away", StringComparison.Ordinal));

        _xenstore.IsDown = false;
        _thread.Advance(TimeSpan.FromSeconds(2));
        Assert.True(_backend.HasStore);
        _store = _xenstore.Connect();
        Attach();
        Assert.Equal(XenbusState.InitWait, State);
    }

    [Fact]
    public void A_store_that_refuses_a_device_is_asked_again_each_second_and_people_are_told_once()
    {
        Start();
        _xenstore.RefusesWrites = true;
        Attach();
        Assert.Equal(XenbusState.Initialising, State);
        int refused = _xenstore.RefusedWrites;
        _thread.Advance(TimeSpan.FromMilliseconds(999));
        Assert.Equal(refused, _xenstore.RefusedWrites);
        for (int second = 1; second <= 5; second++)
        {
            _thread.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(refused + second, _xenstore.RefusedWrites);
            Assert.Equal(ErrorCode.StoreCallFailed, _backend.Devices[0].Error!.Code);
        }
        Assert.Single(_log.Lines, line => line.Contains("trying again every second", StringComparison.Ordinal));

        _xenstore.RefusesWrites = false;
        _thread.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(XenbusState.InitWait, State);
        Assert.Null(_backend.Devices[0].Error);
    }

    [Fact]
    public void A_devices_lines_are_limited_to_20_at_once_and_one_per_10_seconds()
    {
        LogLimiter limiter = new(_thread.Time);
        Assert.Equal(20, Enumerable.Range(0, 30).Count(_ => limiter.TryTake(out long _)));
        _thread.Time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.False(limiter.TryTake(out _));
        _thread.Time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(limiter.TryTake(out long suppressed));
        Assert.Equal(11, suppressed);
        Assert.False(limiter.TryTake(out _));
    }

    [Fact]
    public void A_step_runs_100_times_at_once_and_20_times_per_second()
    {
        NullStep step = new();
        Assert.All(Enumerable.Range(0, 100), _ => Assert.Equal(TimeSpan.Zero, step.TakeBudget(_thread.Time)));
        Assert.Equal(50, step.TakeBudget(_thread.Time).TotalMilliseconds, tolerance: 0.001);
        _thread.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(19, Enumerable.Range(0, 30).Count(_ => step.TakeBudget(_thread.Time) == TimeSpan.Zero));
    }

    private sealed class NullStep : Step
    {
        protected override void Act() { }

        protected override void NoteBug(Exception bug) { }
    }
}
