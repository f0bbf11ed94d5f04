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
/// A daemon is killed at any step; the next one answers what was under way, each request once, and nothing is lost.
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
    /// Every write shares a block with the one before it: what one daemon read of a block and the next one writes must
    /// not undo the other's.
    /// </summary>
    [Theory, EveryAbi]
    public void Killed_at_any_step_between_the_parts_of_blocks_no_part_is_lost(BlkifProtocol protocol) =>
        KillAtEveryStep(protocol, GrantMode.Copy, outOfOrder: true, new Placement(Sector: 4, AlignmentBytes: 4096));

    private static void KillAtEveryStep(
        BlkifProtocol protocol,
        GrantMode mode,
        bool outOfOrder,
        Placement? placement = null
    )
    {
        int steps = 0;
        for (int killAt = 0; ; killAt++)
        {
            using World world = new(protocol, mode, placement) { OutOfOrder = outOfOrder };
            world.Life.StepsLeft = killAt;
            for (int round = 0; round < Rounds; round++)
            {
                world.Post(round);
                world.ServeUntilAnswered();
                world.CheckAnswers();
            }
            world.CheckDisk();
            if (!world.Life.Died)
                break;
            steps++;
        }
        // Each request takes several steps: the kill was tried at all of them.
        Assert.InRange(steps, 100, 10_000);
    }

    [Theory, EveryAbi]
    [Proves("B19")]
    public void Killed_again_while_it_does_the_requests_again_nothing_is_lost_either(BlkifProtocol protocol)
    {
        for (int gap = 1; gap < 40; gap += 3)
        {
            using World world = new(protocol) { OutOfOrder = true };
            world.Life.StepsLeft = world.Life.EveryFurther = gap;
            for (int round = 0; round < Rounds; round++)
            {
                world.Post(round);
                world.ServeUntilAnswered();
                world.CheckAnswers();
            }
            Assert.True(world.Life.Deaths > 1);
            world.CheckDisk();
        }
    }

    /// <summary>
    /// A barrier that was done and not yet told is done again: what came behind it must not be overtaken by that, nor
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
        // Flush and data; with the last flush it is answered, and those behind it are taken in the same turn.
        for (int i = 0; i < 2; i++)
        {
            rig.Disk.CompleteAll();
            rig.Run();
        }
        rig.Disk.CompleteAll();
        rig.Witness.BeforeCopy = _ => throw new KilledException();
        rig.Witness.BeforeMap = () => throw new KilledException();
        Assert.Throws<KilledException>(() => rig.Run());
        rig.Witness.BeforeCopy = null;
        rig.Witness.BeforeMap = null;
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
        using World world = new(BlkifProtocol.X86_64);
        world.Life.StepsLeft = 5;
        world.Post(0);
        Assert.Throws<KilledException>(() => world.Queue.Turn());
        world.Identity = world.Identity with { Ring = new GrantReference(999) };
        world.NextDaemon();
        Assert.Equal(0, world.Queue.InFlight);
    }

    [Fact]
    public void A_ring_that_is_connected_anew_starts_empty_whatever_was_left()
    {
        using World world = new(BlkifProtocol.X86_64);
        world.Life.StepsLeft = 5;
        world.Post(0);
        Assert.Throws<KilledException>(() => world.Queue.Turn());
        world.NextDaemon(takesOver: false);
        Assert.Equal(0, world.Queue.InFlight);
    }

    [Fact]
    public void A_queue_that_was_drained_leaves_nothing_to_be_done()
    {
        using World world = new(BlkifProtocol.X86_64);
        world.Life.StepsLeft = int.MaxValue;
        world.Post(0);
        world.ServeUntilAnswered();
        world.Queue.Dispose();
        using RingJournal journal = new(world.JournalPath, world.Identity);
        Assert.Null(journal.FindLeft());
    }

    [Fact]
    public void What_another_version_left_is_refused_with_a_line_that_says_so()
    {
        using World world = new(BlkifProtocol.X86_64);
        world.Life.StepsLeft = 5;
        world.Post(0);
        Assert.Throws<KilledException>(() => world.Queue.Turn());
        using (FileStream file = File.OpenWrite(world.JournalPath))
        {
            // The version follows the magic.
            file.Position = 8;
            file.WriteByte(77);
        }
        using RingJournal journal = new(world.JournalPath, world.Identity);
        Assert.Contains(
            "another version",
            Assert.Throws<VbdConnectException>(() => journal.FindLeft()).Message,
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
        using World world = new(BlkifProtocol.X86_64);
        string path = world.JournalPath + ".other";
        File.WriteAllBytes(path, [.. Enumerable.Repeat((byte)0xAB, length)]);
        using RingJournal journal = new(path, world.Identity);
        Assert.Null(journal.FindLeft());
        journal.Begin(new JournalSize(32, 0));
        Assert.Equal(new JournalSize(32, 0), journal.FindLeft());
    }

    [Fact]
    public void A_device_keeps_its_journals_across_a_stop_and_deletes_them_when_told()
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
        Vbd.DeleteJournals(path, queues: 1);
        Assert.False(File.Exists(path + "-0"));
    }

    private sealed class KilledException : Exception;

    /// <summary>
    /// Dies at one step, or at that and every so many further ones. A step is whatever the queue asks of its
    /// neighbours.
    /// </summary>
    private sealed class Mortality
    {
        public int StepsLeft { get; set; }
        public int EveryFurther { get; set; }
        public int Deaths { get; private set; }
        public bool Died => Deaths > 0;

        /// <summary>Pages mapped, by address: the kernel takes them from a process that was killed.</summary>
        public Dictionary<nint, int> Mapped { get; } = [];

        public void Bury()
        {
            foreach ((nint address, int pages) in Mapped)
                Libc.Munmap((void*)address, (nuint)(pages * GuestMemory.PageBytes));
            Mapped.Clear();
        }

        public void Step()
        {
            if (StepsLeft-- != 0)
                return;
            Deaths++;
            // A little later each time: a daemon that never lives long enough for one request gets nowhere.
            StepsLeft = EveryFurther > 0 ? EveryFurther++ : int.MaxValue;
            throw new KilledException();
        }
    }

    /// <summary>Where the first page lies, and the least that the disk can read or write.</summary>
    private sealed record Placement(int Sector, int AlignmentBytes);

    private sealed class World : IDisposable
    {
        private const int Entries = 32;
        private const int Segments = 12;
        private const byte Before = 0xEE;
        private readonly TempImage _folder = new(8);
        private readonly HashSet<ulong> _answers = [];
        private readonly byte[] _expected = new byte[Entries * Rounds];
        private readonly Placement _placement;
        private readonly MemoryDisk _content;
        private int _posted;

        public World(BlkifProtocol protocol, GrantMode mode = GrantMode.Copy, Placement? placement = null)
        {
            (Protocol, Mode, _placement) = (protocol, mode, placement ?? new Placement(Sector: 0, AlignmentBytes: 512));
            Domain = Frontend.CreateDomain(new DomainId(7), 1, segments: Segments);
            Frontend = Frontend.Create(Domain, protocol, 1, segments: Segments);
            _content = new MemoryDisk(((Entries * Rounds) + 1) * Requests.PageSectors);
            _content.Content.Fill(Before);
            Array.Fill(_expected, Before);
            Disk = OpenDisk();
            Identity = new RingIdentity(Domain.Id, protocol, 1, Frontend.RingReferences[0], Frontend.Channel.Port);
            Queue = Create(takesOver: false);
        }

        public BlkifProtocol Protocol { get; }
        public GrantMode Mode { get; }
        public LoopbackDomain Domain { get; }
        public Frontend Frontend { get; }
        public Mortality Life { get; } = new();
        public MortalDisk Disk { get; private set; }
        public bool OutOfOrder { get; init; }
        public RingIdentity Identity { get; set; }
        public VbdQueue Queue { get; private set; }
        public string JournalPath => _folder.PathOf("journal");

        /// <summary>Fills the ring with requests of every kind, each of a page of its own.</summary>
        public void Post(int round)
        {
            for (int i = 0; i < Entries; i++, _posted++)
            {
                int operation = (i % 8) switch
                {
                    3 when round == 2 => Blkif.OpIndirect,
                    // Of blocks that are discarded in part nothing goes.
                    4 when _placement.AlignmentBytes == Engine.Disks.Disk.SectorBytes => Blkif.OpDiscard,
                    5 => Blkif.OpRead,
                    6 => Blkif.OpFlushDiskcache,
                    7 when round == 1 => Blkif.OpWriteBarrier,
                    _ => Blkif.OpWrite,
                };
                ulong sector = (ulong)(_placement.Sector + (_posted * Requests.PageSectors));
                if (operation == Blkif.OpDiscard)
                {
                    _expected[_posted] = 0;
                    Frontend.Put(Requests.Discard(_posted, sector, Requests.PageSectors));
                    continue;
                }
                bool indirect = operation == Blkif.OpIndirect;
                if (indirect)
                    operation = Blkif.OpWrite;
                Blkif.DecodedRequest request = Requests.Of(
                    Frontend,
                    _posted,
                    operation,
                    sector,
                    operation == Blkif.OpFlushDiskcache ? [] : Requests.Pages(1)
                );
                if (operation is Blkif.OpWrite or Blkif.OpWriteBarrier)
                {
                    _expected[_posted] = (byte)(_posted + 1);
                    new Span<byte>(Frontend.BufferOf(_posted % Entries, 0), GuestMemory.PageBytes).Fill(
                        (byte)(_posted + 1)
                    );
                }
                // A frontend that lets its grants be kept grants them for reading and writing.
                if (Mode == GrantMode.Persistent && request.NrSegments > 0)
                    request.Seg[0].Gref = Frontend.GrantOf(_posted % Entries, 0, readOnly: false).Value;
                if (indirect)
                {
                    Frontend.SegmentListOf(_posted % Entries)[0] = request.Seg[0];
                    Frontend.MakeIndirect(ref request, _posted % Entries, operation, segments: 1);
                }
                Frontend.Put(in request);
            }
            Frontend.Push();
        }

        /// <summary>
        /// Turns the queue until the frontend has all its answers; each time it dies, the next daemon takes over.
        /// </summary>
        public void ServeUntilAnswered()
        {
            for (int turns = 0; _answers.Count < _posted; turns++)
            {
                Assert.True(turns < 100_000, $"{_answers.Count} of {_posted} requests were answered, and no more come");
                try
                {
                    Queue.Turn();
                    Queue.FinalCheckForRequests();
                }
                catch (KilledException)
                {
                    NextDaemon();
                }
                Blkif.DecodedResponse response = default;
                while (Frontend.TryTake(ref response))
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
            Assert.Equal(0, Queue.InFlight);
        }

        public void CheckDisk()
        {
            for (int page = 0; page < _expected.Length; page++)
                Assert.Equal(
                    -1,
                    _content
                        .Content.Slice(
                            (_placement.Sector * 512) + (page * GuestMemory.PageBytes),
                            GuestMemory.PageBytes
                        )
                        .IndexOfAnyExcept(_expected[page])
                );
        }

        /// <summary>Of the one before nothing is left but its journal, as it was when it was killed.</summary>
        public void NextDaemon(bool takesOver = true)
        {
            byte[] left = File.ReadAllBytes(JournalPath);
            Life.Bury();
            Queue.Dispose();
            File.WriteAllBytes(JournalPath, left);
            Disk = OpenDisk();
            Queue = Create(takesOver);
        }

        public void Dispose()
        {
            Queue.Dispose();
            _content.Dispose();
            Domain.Dispose();
            _folder.Dispose();
        }

        // What the daemon before had under way on it never ends.
        private MortalDisk OpenDisk() =>
            new(_content, Life, () => OutOfOrder) { BlockBytes = _placement.AlignmentBytes };

        private VbdQueue Create(bool takesOver)
        {
            VbdQueueOptions options = new()
            {
                Frontend = Domain.Id,
                GrantMode = Mode,
                MaxIndirectSegments = Segments,
                Journal = new RingJournal(JournalPath, Identity),
                TakesOver = takesOver,
                RingIndex = takesOver ? Frontend.Header.RspProd : 0,
            };
            VbdQueue queue = new VbdQueueFactory(Frontend.Sring, Protocol, options, Disk).Visit(
                new MortalGrants(new LoopbackGrants(Domain.Memory, Domain.Id, Domain.Backend), Life),
                new MortalEvents(Life)
            );
            queue.AttachDisk(0, ring: null);
            queue.AttachRing();
            return queue;
        }
    }

    private readonly struct MortalGrants(LoopbackGrants grants, Mortality life) : IGrants
    {
        public static bool MovesData => true;

        public void Copy(GrantCopySegment* segments, int count)
        {
            for (int i = 0; i < count; i++)
            {
                life.Step();
                grants.Copy(segments + i, 1);
            }
            life.Step();
        }

        public void Map(GrantMapping* mappings, int count)
        {
            life.Step();
            grants.Map(mappings, count);
            for (int i = 0; i < count; i++)
                if (mappings[i].Status == GrantTable.GntstOkay)
                    life.Mapped.Add((nint)mappings[i].Address, mappings[i].Count);
            life.Step();
        }

        public void Unmap(GrantMapping* mappings, int count)
        {
            life.Step();
            for (int i = 0; i < count; i++)
                life.Mapped.Remove((nint)mappings[i].Address);
            grants.Unmap(mappings, count);
            life.Step();
        }
    }

    private readonly struct MortalEvents(Mortality life) : IEventChannel
    {
        public int Descriptor => -1;

        public void Notify() => life.Step();

        public void PrepareWait(io_uring_sqe* sqe) { }

        public void CompleteWait(int result) { }

        public void Consume() { }

        public void Unmask() { }
    }

    /// <summary>
    /// A memory disk on which every operation is two steps, and which may finish them later and in another order.
    /// </summary>
    private sealed class MortalDisk(MemoryDisk content, Mortality life, Func<bool> outOfOrder)
        : Disk(content.CapacitySectors, readOnly: false)
    {
        private readonly List<DiskOperation> _underWay = [];

        public override bool DiscardZeroes => true;
        public int BlockBytes
        {
            init => AlignmentBytes = value;
        }

        public override string Describe() => "a disk whose daemon dies";

        public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new Io(this));

        protected override void Dispose(bool disposing) { }

        private bool IsOutOfOrder => outOfOrder();

        private int Do(in DiskOperation operation)
        {
            life.Step();
            fixed (byte* bytes = content.Content)
            {
                int result = new MemoryDiskIo(bytes).Start(in operation);
                life.Step();
                return result;
            }
        }

        private readonly struct Io(MortalDisk disk) : IDiskIo
        {
            public static bool MovesData => true;

            public void Attach(in DiskAttachment attachment) { }

            public void Detach() { }

            public int Start(in DiskOperation operation)
            {
                if (!disk.IsOutOfOrder)
                    return disk.Do(in operation);
                disk._underWay.Add(operation);
                return IDiskIo.Pending;
            }

            public int Reap(Span<DiskCompletion> completions)
            {
                // Two at a time, the newest first: responses come in another order than requests.
                int count = 0;
                while (count < 2 && disk._underWay.Count > 0)
                {
                    DiskOperation operation = disk._underWay[^1];
                    disk._underWay.RemoveAt(disk._underWay.Count - 1);
                    completions[count++] = new DiskCompletion { Tag = operation.Tag, Result = disk.Do(in operation) };
                }
                return count;
            }
        }
    }
}
