using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// A daemon is killed at any step. The next one answers each request in flight once, and nothing is lost.
/// </summary>
public sealed unsafe class JournalTests
{
    private const int Rounds = 3;

    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B19", "F20")]
    public void Killed_at_any_step_every_request_is_answered_once_by_the_next_daemon(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        foreach (bool outOfOrder in (bool[])[true, false])
            KillAtEveryStep(protocol, mode, outOfOrder);
    }

    /// <summary>
    /// Every write shares a block with the one before it. When the next daemon repeats a read-modify-write, it must not
    /// undo what another write put into the block.
    /// </summary>
    [Theory, EveryAbi]
    public void Killed_at_any_step_between_the_parts_of_blocks_no_part_is_lost(BlkifProtocol protocol) =>
        KillAtEveryStep(protocol, GrantMode.Copy, outOfOrder: true, new Placement(Sector: 4, AlignmentBytes: 4096));

    /// <summary>
    /// Killed after a request was copied off the ring and before its record says Taken; after a response was put on the
    /// ring and before its record says Answered.
    /// </summary>
    [Theory]
    [InlineData(GrantMode.Copy)]
    [InlineData(GrantMode.Map)]
    [InlineData(GrantMode.Persistent)]
    [Proves("B19")]
    public void Killed_between_the_ring_and_the_note_in_the_journal_nothing_is_lost_or_done_twice(GrantMode mode)
    {
        foreach (bool outOfOrder in (bool[])[true, false])
            KillAtEveryStep(BlkifProtocol.X86_64, mode, outOfOrder, window: Window.Codec);
    }

    /// <summary>Killed after rsp_prod has moved and before the journal's header says so.</summary>
    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B19")]
    public void Killed_between_the_push_and_the_note_of_it_no_request_is_answered_again(
        BlkifProtocol protocol,
        GrantMode mode
    )
    {
        foreach (bool outOfOrder in (bool[])[true, false])
            KillAtEveryStep(protocol, mode, outOfOrder, window: Window.Push);
    }

    private static void KillAtEveryStep(
        BlkifProtocol protocol,
        GrantMode mode,
        bool outOfOrder,
        Placement? placement = null,
        Window window = Window.None
    )
    {
        int steps = 0,
            inWindow = 0;
        for (int killAt = 0; ; killAt++)
        {
            using Workload load = new(protocol, mode, placement, outOfOrder, window);
            load.Life.StepsLeft = killAt;
            for (int round = 0; round < Rounds; round++)
            {
                load.Post(round);
                load.ServeUntilAnswered();
                load.CheckAnswers();
            }
            load.CheckDisk();
            if (!load.Life.Died)
                break;
            steps++;
            inWindow += load.DeathsInWindow;
        }
        // Each request takes several steps: the kill was tried at all of them.
        Assert.InRange(steps, 100, 10_000);
        if (window == Window.Push)
            Assert.NotEqual(0, inWindow);
    }

    [Theory, EveryAbi]
    [Proves("B19")]
    public void Killed_again_while_it_does_the_requests_again_nothing_is_lost_either(BlkifProtocol protocol)
    {
        for (int gap = 1; gap < 40; gap += 3)
        {
            using Workload load = new(protocol, outOfOrder: true);
            load.Life.StepsLeft = load.Life.EveryFurther = gap;
            for (int round = 0; round < Rounds; round++)
            {
                load.Post(round);
                load.ServeUntilAnswered();
                load.CheckAnswers();
            }
            Assert.True(load.Life.Deaths > 1);
            load.CheckDisk();
        }
    }

    /// <summary>
    /// A barrier that was done and not yet answered is done again. Requests behind it must not run before that, nor
    /// wait for ever.
    /// </summary>
    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B19")]
    public void Killed_behind_a_barrier_the_next_daemon_keeps_its_order(BlkifProtocol protocol, GrantMode mode)
    {
        using TempImage folder = new(8);
        using Rig rig = new(protocol, new RigOptions { JournalPath = folder.PathOf("journal"), GrantMode = mode });
        Blkif.DecodedRequest[] requests =
        [
            rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1)),
            rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)),
            rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1)),
            rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)),
        ];
        foreach (ref Blkif.DecodedRequest request in requests.AsSpan())
        {
            rig.FillGuest(in request);
            rig.Put(in request);
        }
        rig.PushAndRun();
        // Flush and data. The last flush answers it, and the requests behind it are taken in the same turn.
        for (int i = 0; i < 2; i++)
        {
            rig.Disk.CompleteAll();
            rig.Run();
        }
        rig.Disk.CompleteAll();
        rig.Life.StepsLeft = 0;
        Assert.Throws<KilledException>(() => rig.Run());
        Assert.Empty(rig.Responses());

        rig.NextDaemon(new ScriptedDisk(4096, content: rig.Disk.Content));
        rig.Run();
        rig.FinishDisk();
        Assert.Equal(
            requests.Select(request => request.Id),
            rig.Responses().Where(response => response.Status == Blkif.RspOkay).Select(response => response.Id)
        );
        Assert.Equal(rig.GuestBytes(in requests[3]), rig.Disk.Sectors(0, 8));
    }

    [Fact]
    public void A_journal_of_another_ring_is_not_followed()
    {
        using Workload load = new(BlkifProtocol.X86_64);
        load.Life.StepsLeft = 5;
        load.Post(0);
        Assert.Throws<KilledException>(() => load.Rig.Queue.RunPass());
        load.Rig.Identity = load.Rig.Identity with { Ring = new GrantReference(999) };
        load.NextDaemon();
        Assert.Equal(0, load.Rig.Queue.InFlight);
    }

    /// <summary>
    /// While no daemon runs, a frontend may set its ring up anew, and grants and ports have the same numbers again. All
    /// records are of requests that were answered long ago: none may be replayed.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(Rounds)]
    public void A_ring_that_was_set_up_anew_under_the_same_numbers_gets_none_of_the_old_requests(int rounds)
    {
        using Workload load = new(BlkifProtocol.X86_64);
        load.Life.StepsLeft = Mortality.Immortal;
        for (int round = 0; round < rounds; round++)
        {
            load.Post(round);
            load.ServeUntilAnswered();
        }
        ref Blkif.Sring ring = ref load.Rig.Frontend.Header;
        (ring.ReqProd, ring.RspProd) = (32, 0);
        load.NextDaemon();
        Assert.Equal(0, load.Rig.Queue.InFlight);
    }

    [Fact]
    public void A_ring_that_is_connected_anew_starts_empty_whatever_was_left()
    {
        using Workload load = new(BlkifProtocol.X86_64);
        load.Life.StepsLeft = 5;
        load.Post(0);
        Assert.Throws<KilledException>(() => load.Rig.Queue.RunPass());
        load.NextDaemon(takesOver: false);
        Assert.Equal(0, load.Rig.Queue.InFlight);
    }

    [Fact]
    public void A_queue_that_was_drained_leaves_nothing_to_be_done()
    {
        using Workload load = new(BlkifProtocol.X86_64);
        load.Life.StepsLeft = Mortality.Immortal;
        load.Post(0);
        load.ServeUntilAnswered();
        load.Rig.Queue.Dispose();
        using RingJournal journal = new(load.JournalPath, load.Rig.Identity);
        Assert.Equal(JournalState.Drained, journal.OpenExisting(load.Rig.Frontend.Header.RspProd, 32).State);
    }

    [Fact]
    public void What_another_version_left_is_refused_with_a_line_that_says_so()
    {
        using Workload load = new(BlkifProtocol.X86_64);
        load.Life.StepsLeft = 5;
        load.Post(0);
        Assert.Throws<KilledException>(() => load.Rig.Queue.RunPass());
        using (FileStream file = File.OpenWrite(load.JournalPath))
        {
            // The version follows the magic.
            file.Position = 8;
            file.WriteByte(77);
        }
        using RingJournal journal = new(load.JournalPath, load.Rig.Identity);
        Assert.Contains(
            "another version",
            Assert
                .Throws<VbdConnectException>(() => journal.OpenExisting(load.Rig.Frontend.Header.RspProd, 32))
                .Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(4096)]
    [InlineData(100_000)]
    public void Rubbish_in_the_place_of_a_journal_is_no_journal(int length)
    {
        using Workload load = new(BlkifProtocol.X86_64);
        string path = load.JournalPath + ".other";
        File.WriteAllBytes(path, [.. Enumerable.Repeat((byte)0xAB, length)]);
        using RingJournal journal = new(path, load.Rig.Identity);
        Assert.Equal(JournalState.Missing, journal.OpenExisting(load.Rig.Frontend.Header.RspProd, 32).State);
        journal.Begin(new JournalSize(32, 0), 0);
        Assert.Equal(new JournalFinding(JournalState.Left, new JournalSize(32, 0)), journal.OpenExisting(0, 32));
    }

    [Fact]
    public void A_device_keeps_its_journals_across_a_stop()
    {
        using TempImage folder = new(8);
        string path = folder.PathOf("7-51712");
        using Reactor reactor = new();
        using (
            Device device = new(
                reactor,
                BlkifProtocol.X86_64,
                new MemoryDisk(4096),
                options: new VbdOptions { JournalPath = path }
            )
        )
        {
            WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(50));
            Assert.True(result.IsRight, result.FirstProblem);
            Assert.True(device.Vbd.Stop(Wait.Limit));
            Assert.True(File.Exists(path + "-0"));
            device.Vbd.Connect(
                device.Frontend.Connection with
                {
                    Takeover = true,
                },
                new LoopbackHypervisor(device.Domain)
            );
            device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
            device.Frontend.Push();
            Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(device.Frontend, 1)).Status);
        }
    }

    /// <summary>A window between two stores, where no neighbour is asked for anything.</summary>
    private enum Window
    {
        None,

        /// <summary>Between the ring's codec and the record.</summary>
        Codec,

        /// <summary>Between rsp_prod and the journal's note of it.</summary>
        Push,
    }

    /// <summary>Where the first page lies, and the least that the disk can read or write.</summary>
    private sealed record Placement(int Sector, int AlignmentBytes);

    /// <summary>
    /// Requests of every kind on a ring whose daemon is killed again and again, with the expected responses and
    /// content of the disk.
    /// </summary>
    private sealed class Workload : IDisposable
    {
        private const int Entries = 32;
        private const int Segments = 12;
        private const byte Before = 0xEE;
        private const int Sectors = ((Entries * Rounds) + 1) * Requests.PageSectors;
        private readonly TempImage _folder = new(8);
        private readonly HashSet<ulong> _answers = [];
        private readonly byte[] _expected = new byte[Entries * Rounds];
        private readonly byte[] _content = new byte[Sectors * Disk.SectorBytes];
        private readonly Placement _placement;
        private readonly bool _outOfOrder;
        private readonly Window _window;
        private uint _pushedBefore;
        private int _posted;

        public Workload(
            BlkifProtocol protocol,
            GrantMode mode = GrantMode.Copy,
            Placement? placement = null,
            bool outOfOrder = false,
            Window window = Window.None
        )
        {
            _window = window;
            (_placement, _outOfOrder) = (placement ?? new Placement(Sector: 0, Disk.SectorBytes), outOfOrder);
            Array.Fill(_content, Before);
            Array.Fill(_expected, Before);
            Rig = new Rig(
                protocol,
                new RigOptions
                {
                    Disk = OpenDisk(),
                    GrantMode = mode,
                    MaxIndirectSegments = Segments,
                    JournalPath = _folder.PathOf("journal"),
                    Life = Life,
                    DiesInCodec = window == Window.Codec,
                }
            );
        }

        public Rig Rig { get; }
        public Mortality Life { get; } = new();
        public string JournalPath => _folder.PathOf("journal");

        /// <summary>Fills the ring with requests of every kind, each of a page of its own.</summary>
        public void Post(int round)
        {
            for (int i = 0; i < Entries; i++, _posted++)
            {
                int operation = (i % 8) switch
                {
                    3 when round == 2 => Blkif.OpIndirect,
                    // Partially covered blocks are not discarded.
                    4 when _placement.AlignmentBytes == Disk.SectorBytes => Blkif.OpDiscard,
                    5 => Blkif.OpRead,
                    6 => Blkif.OpFlushDiskcache,
                    7 when round == 1 => Blkif.OpWriteBarrier,
                    _ => Blkif.OpWrite,
                };
                ulong sector = (ulong)(_placement.Sector + (_posted * Requests.PageSectors));
                if (operation == Blkif.OpDiscard)
                {
                    _expected[_posted] = 0;
                    Rig.Frontend.Put(Requests.Discard(_posted, sector, Requests.PageSectors));
                    continue;
                }
                bool indirect = operation == Blkif.OpIndirect;
                if (indirect)
                    operation = Blkif.OpWrite;
                Blkif.DecodedRequest request = Requests.Of(
                    Rig.Frontend,
                    _posted,
                    operation,
                    sector,
                    operation == Blkif.OpFlushDiskcache ? [] : Requests.Pages(1)
                );
                if (operation is Blkif.OpWrite or Blkif.OpWriteBarrier)
                {
                    _expected[_posted] = (byte)(_posted + 1);
                    new Span<byte>(Rig.Frontend.BufferOf(_posted % Entries, 0), GuestMemory.PageBytes).Fill(
                        (byte)(_posted + 1)
                    );
                }
                if (indirect)
                {
                    Rig.Frontend.SegmentListOf(_posted % Entries)[0] = request.Seg[0];
                    Rig.Frontend.MakeIndirect(ref request, _posted % Entries, operation, segments: 1);
                }
                Rig.Frontend.Put(in request);
            }
            Rig.Frontend.Push();
        }

        /// <summary>
        /// Turns the queue until the frontend has all its answers; each time it dies, the next daemon takes over.
        /// </summary>
        public void ServeUntilAnswered()
        {
            for (int turns = 0; _answers.Count < _posted; turns++)
            {
                Assert.True(turns < 100_000, $"{_answers.Count} of {_posted} requests were answered, and no more come");
                Survive(() =>
                {
                    _pushedBefore = Rig.Frontend.Header.RspProd;
                    Rig.Queue.RunPass();
                    Rig.Queue.FinalCheckForRequests();
                });
                foreach (Blkif.DecodedResponse response in Rig.Responses())
                {
                    Assert.Equal(Blkif.RspOkay, response.Status);
                    Assert.True(_answers.Add(response.Id), $"request {response.Id:x} is answered twice");
                }
            }
        }

        public void CheckAnswers()
        {
            for (int i = 0; i < _posted; i++)
                Assert.Contains(0xF1E2D3C4B5A60000 + (ulong)i, _answers);
            Assert.Equal(0, Rig.Queue.InFlight);
        }

        public void CheckDisk()
        {
            for (int page = 0; page < _expected.Length; page++)
                Assert.Equal(
                    -1,
                    _content
                        .AsSpan(
                            (_placement.Sector * Disk.SectorBytes) + (page * GuestMemory.PageBytes),
                            GuestMemory.PageBytes
                        )
                        .IndexOfAnyExcept(_expected[page])
                );
            Rig.Verify();
        }

        /// <summary>Kills after a push, moved to before the journal's note of it.</summary>
        public int DeathsInWindow { get; private set; }

        public void NextDaemon(bool takesOver = true)
        {
            if (_window == Window.Push && Rig.Frontend.Header.RspProd != _pushedBefore)
            {
                // A pass pushes once, and only notifies after its note of it: so this is what was left before the note.
                using (MappedMemory journal = MapJournal())
                    ((Journal.Header*)journal.Address)->RspProd = _pushedBefore;
                _pushedBefore = Rig.Frontend.Header.RspProd;
                DeathsInWindow++;
            }
            Rig.NextDaemon(OpenDisk(), takesOver);
        }

        private MappedMemory MapJournal()
        {
            using FileStream file = new(JournalPath, FileMode.Open, FileAccess.ReadWrite);
            return MappedMemory.FromFile(
                (int)file.SafeFileHandle.DangerousGetHandle(),
                0,
                Journal.HeaderBytes,
                writable: true,
                shared: true
            );
        }

        public void Dispose()
        {
            Rig.Dispose();
            _folder.Dispose();
        }

        /// <summary>The next daemon may be killed as early as its first notification.</summary>
        private void Survive(Action action)
        {
            for (Action next = action; ; next = () => NextDaemon())
            {
                try
                {
                    next();
                    return;
                }
                catch (KilledException) { }
            }
        }

        /// <summary>
        /// A disk on which every operation takes two steps, one before it is done and one after. Operations that the
        /// daemon before had in flight never end.
        /// </summary>
        private ScriptedDisk OpenDisk()
        {
            ScriptedDisk disk = new(Sectors, alignmentBytes: _placement.AlignmentBytes, content: _content);
            if (_outOfOrder)
                disk.OnReap = () => CompleteNewest(disk);
            else
                disk.OnStart = operation =>
                {
                    Life.Step();
                    int result = disk.Perform(operation);
                    Life.Step();
                    return result;
                };
            return disk;
        }

        /// <summary>
        /// Completes two at a time, the newest first, so that responses come in another order than requests.
        /// </summary>
        private void CompleteNewest(ScriptedDisk disk)
        {
            for (int count = 0; count < 2 && disk.UnderWay is [.., ScriptedOperation newest]; count++)
            {
                Life.Step();
                disk.Complete(newest);
                Life.Step();
            }
        }
    }
}
