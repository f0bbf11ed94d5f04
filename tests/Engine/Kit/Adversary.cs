using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Kit;

/// <summary>How the device under an <see cref="Adversary"/> is set up.</summary>
internal sealed record AdversaryOptions
{
    public required BlkifProtocol Protocol { get; init; }
    public int GuestId { get; init; } = 1;
    public int RingPages { get; init; } = 1;
    public uint RingIndex { get; init; }
    public long Sectors { get; init; } = 512;
    public int AlignmentBytes { get; init; } = Disk.SectorBytes;
    public bool NativeSectors { get; init; }
    public bool ReadOnly { get; init; }
    public int? MaxInFlight { get; init; }
    public int MaxIndirectSegments { get; init; }
    public int? IndirectMemoryBytes { get; init; }
    public GrantMode GrantMode { get; init; }
    public int? MaxPersistentGrants { get; init; }
    public int Queues { get; init; } = 1;

    /// <summary>The disk fails now and then.</summary>
    public bool Failing { get; init; }

    /// <summary>It grows and shrinks.</summary>
    public bool Resizing { get; init; }

    /// <summary>It turns out that it cannot discard.</summary>
    public bool RefusesDiscards { get; init; }

    /// <summary>Where the journals are; the daemon is then killed now and then.</summary>
    public string? JournalPath { get; init; }

    /// <summary>Chooses at random among the options that go together.</summary>
    public static AdversaryOptions Of(BlkifProtocol protocol, Random random)
    {
        bool blocks = random.Next(3) == 0;
        int segments = Pick(0, 1, 12, 40, 600);
        return
            new AdversaryOptions
            {
                Protocol = protocol,
                RingPages = segments == 600 ? 1 : Pick(1, 1, 2, 4),
                RingIndex = Pick(0u, 5u, uint.MaxValue - 100),
                AlignmentBytes = blocks ? Pick(4096, 4096, 1024) : Disk.SectorBytes,
                NativeSectors = false,
                ReadOnly = random.Next(20) == 0,
                MaxInFlight = Pick<int?>(null, null, 1, 2, 7),
                MaxIndirectSegments = segments,
                IndirectMemoryBytes = Pick<int?>(null, 0, 1 << 18),
                GrantMode = Pick(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent),
                MaxPersistentGrants = Pick<int?>(null, 0, 30, 100),
                Queues = Pick(1, 1, 2, 3),
                Failing = random.Next(2) == 0,
                Resizing = random.Next(3) == 0,
                RefusesDiscards = random.Next(5) == 0,
            }
                is var options
            && blocks
            && options.AlignmentBytes == 4096
            && random.Next(3) == 0
            ? options with
            {
                NativeSectors = true,
            }
            : options;

        T Pick<T>(params T[] values) => values[random.Next(values.Length)];
    }
}

/// <summary>
/// Guests that post anything, a disk that does anything, and a thread that turns the queues in any order, but only when
/// a reactor would. A seed repeats a run.
/// </summary>
internal sealed class Adversary : IDisposable
{
    private readonly AdversaryOptions _options;
    private readonly Random _random;
    private readonly Throttle _throttle = new();
    private readonly HostileGuest[] _guests;
    private ScriptedDisk _disk;
    private readonly DiskHistory _history;
    private readonly List<(int Started, int Done)> _flushes = [];
    private readonly Dictionary<ScriptedOperation, int> _flushesUnderWay = [];
    private readonly List<ScriptedOperation> _over = [];
    private long _strays;
    private bool _discardsRefused;

    // When an operator last accepted that writes are lost.
    private int _acceptedAt;

    // The queues of all the guests are in one daemon.
    private readonly Mortality _life = new();

    public Adversary(AdversaryOptions options, int seed)
    {
        (_options, _random) = (options, new Random(seed));
        _guests = new HostileGuest[options.Queues];
        for (int i = 0; i < _guests.Length; i++)
            _guests[i] = new HostileGuest(
                options with
                {
                    GuestId = i + 1,
                },
                _random,
                i == 0 ? null : _guests[0].Rig.Disk,
                _throttle,
                _life
            );
        _disk = _guests[0].Rig.Disk;
        _disk.OnStart = Start;
        _history = new DiskHistory(_disk.Content);
    }

    /// <summary>A clock that counts what happened.</summary>
    public int Now { get; private set; }
    public int Answered => _guests.Sum(guest => guest.Answered);
    public int Served => _guests.Sum(guest => guest.Served);
    public int Deaths => _life.Deaths;

    /// <summary>Flushes of the disk that began after that time and are done.</summary>
    public int FlushesSince(int time) => _flushes.Count(flush => flush.Started > time);

    /// <summary>Writes count as lost now, or did at some moment since that time: a flush may fail for that.</summary>
    public bool WereWritesLostSince(int time) => _disk.Lost.Errno != 0 || _acceptedAt > time;

    /// <summary>Writes count as lost, and did at that time: no flush of since then may succeed.</summary>
    public bool AreWritesLostFrom(int time) => _disk.Lost.Errno != 0 && _lostBy <= time && _acceptedAt <= time;

    private int _lostBy = int.MaxValue;

    public void Run(int steps)
    {
        for (int step = 0; step < steps; step++)
        {
            Now++;
            if (_options.JournalPath is not null && _random.Next(30) == 0)
                _life.StepsLeft = _random.Next(40);
            Survive(() => Step(_guests[_random.Next(_guests.Length)]));
            if (step % 200 == 199)
                ComeToRest();
        }
        ComeToRest();
        CheckDisk();
        for (int i = _guests.Length; i-- > 0; )
            _guests[i].Rig.Verify();
    }

    /// <summary>A daemon is killed, and another one takes over.</summary>
    private void Survive(Action action)
    {
        try
        {
            action();
        }
        catch (KilledException)
        {
            NextDaemon();
        }
    }

    private void NextDaemon()
    {
        // The kernel may have done the operations it had, or a part, or none. They have ended before the image's lock
        // is free.
        foreach (ScriptedOperation operation in _disk.UnderWay)
            DoPerhaps(operation);
        _flushesUnderWay.Clear();
        _over.Clear();
        (long capacity, bool discards, int lost) = (_disk.CapacitySectors, _disk.DiscardSupported, _disk.Lost.Errno);
        _disk = new ScriptedDisk(_options.Sectors, _options.ReadOnly, _options.AlignmentBytes, _disk.Content)
        {
            OnStart = Start,
        };
        _disk.Resize(capacity);
        // A daemon finds it in the file that the one before has left.
        if (lost != 0)
            _disk.Lost.Note(lost);
        if (!discards)
            _disk.RefuseDiscard();
        foreach (HostileGuest guest in _guests)
            guest.NextDaemon(_disk);
    }

    private void DoPerhaps(ScriptedOperation operation)
    {
        int unit = _disk.AlignmentBytes;
        if (_random.Next(3) != 0)
            _disk.Perform(
                operation,
                operation.IsTransfer ? unit * _random.Next((operation.LengthBytes / unit) + 1) : 0
            );
    }

    private void Step(HostileGuest guest)
    {
        switch (_random.Next(100))
        {
            case < 30:
                for (int count = _random.Next(6); count >= 0; count--)
                    guest.Post(_history, _disk.CapacitySectors, _discardsRefused, ++Now);
                if (_random.Next(4) != 0)
                    guest.Push();
                break;
            case < 60:
                if (guest.IsReady)
                    guest.Turn(looksOn: _random.Next(3) == 0);
                break;
            case < 82:
                for (int count = _random.Next(4); count >= 0; count--)
                    CompleteOne();
                break;
            case < 90:
                guest.TakeResponses(_history, this);
                break;
            case < 92:
                guest.TakeGrantBack();
                break;
            case < 94:
                guest.Rig.Queue.ReleaseIdleGrants(_random.Next(2) == 0 ? long.MaxValue : 0);
                break;
            case < 96:
                _throttle.Limits =
                    _random.Next(2) == 0
                        ? new ThrottleLimits()
                        : new ThrottleLimits
                        {
                            Iops = 1,
                            IopsBurst = 1 + _random.Next(5),
                            BytesPerSecond = _random.Next(2),
                            BytesBurst = 65536,
                        };
                break;
            case < 97:
                Stray();
                break;
            case < 98:
                guest.PauseOrGoOn();
                break;
            case < 99 when _options.Resizing:
                Resize();
                break;
            default:
                guest.TimePasses();
                if (_disk.Lost.Errno != 0 && _random.Next(4) == 0)
                    AcceptLoss();
                break;
        }
        if (_disk.Lost.Errno != 0)
            _lostBy = Math.Min(_lostBy, Now);
    }

    private void AcceptLoss()
    {
        _disk.Lost.Clear();
        (_acceptedAt, _lostBy) = (++Now, int.MaxValue);
    }

    /// <summary>The disk answers an operation at once, or later, or badly.</summary>
    private int Start(ScriptedOperation operation)
    {
        Now++;
        if (_life.IsLastStep)
            DoPerhaps(operation);
        _life.Step();
        if (operation.Kind == DiskOperationKind.Flush)
            _flushesUnderWay[operation] = Now;
        if (_random.Next(3) != 0)
            return IDiskIo.Pending;
        int result = ResultOf(operation);
        if (result >= 0)
            _disk.Perform(operation, result);
        _life.Step();
        Over(operation, result);
        return result;
    }

    private void CompleteOne()
    {
        if (_disk.UnderWay is not { Length: > 0 } underWay)
            return;
        Now++;
        ScriptedOperation operation = underWay[_random.Next(underWay.Length)];
        int result = ResultOf(operation);
        _disk.Complete(operation, result);
        Over(operation, result);
        GuestOf(operation).Wake();
    }

    private int ResultOf(ScriptedOperation operation)
    {
        int lot = _random.Next(100);
        if (lot < 8)
            return -(lot % 2 == 0 ? Errno.EAGAIN : Errno.EINTR);
        if (_options.Failing && lot < 12)
        {
            Blame(operation);
            return lot == 8 && operation.IsTransfer ? 0 : -Errno.EIO;
        }
        if (_options.RefusesDiscards && lot > 90 && operation.Kind == DiskOperationKind.Discard)
            return RefuseDiscard();
        if (!operation.IsTransfer)
            return 0;
        int unit = _disk.AlignmentBytes;
        return lot < 30 ? unit * (1 + _random.Next(operation.LengthBytes / unit)) : operation.LengthBytes;
    }

    private void Over(ScriptedOperation operation, int result)
    {
        _over.Add(operation);
        if (_flushesUnderWay.Remove(operation, out int started) && result == 0)
            _flushes.Add((started, Now));
    }

    private HostileGuest GuestOf(ScriptedOperation operation)
    {
        for (int i = 0; i < _guests.Length; i++)
            if (_disk.Ports[i] == operation.Port)
                return _guests[i];
        throw new InvalidOperationException("an operation of no queue");
    }

    /// <summary>
    /// The requests to which a failed operation may belong. If there is only one, it belongs to that.
    /// </summary>
    private void Blame(ScriptedOperation operation)
    {
        long block = _disk.AlignmentBytes / Disk.SectorBytes,
            first = operation.OffsetBytes / Disk.SectorBytes,
            end = first + (operation.LengthBytes / Disk.SectorBytes);
        Posted[] suspects = [.. GuestOf(operation).InFlight.Where(IsSuspect)];
        Assert.NotEmpty(suspects);
        foreach (Posted suspect in suspects)
            suspect.MayFail = true;
        if (suspects.Length == 1 && operation.IsTransfer)
            suspects[0].MustFail = true;

        bool IsSuspect(Posted posted) =>
            posted.Refusal is null
            && operation.Kind switch
            {
                DiskOperationKind.Flush => posted.Operation is Abi.Blkif.OpFlushDiskcache or Abi.Blkif.OpWriteBarrier,
                DiskOperationKind.Discard => posted.Operation == Abi.Blkif.OpDiscard && Overlaps(posted),
                // A write of parts of blocks reads them.
                DiskOperationKind.Read => (posted.Operation == Abi.Blkif.OpRead || (posted.Changes && block > 1))
                    && Overlaps(posted),
                _ => posted.Changes && Overlaps(posted),
            };

        bool Overlaps(Posted posted) =>
            posted.Sectors > 0
            && posted.Start / block * block < end
            && first < (posted.End + block - 1) / block * block;
    }

    private void Resize()
    {
        long before = _disk.CapacitySectors;
        _disk.Resize(_options.Sectors - (_random.Next(2) * _options.Sectors / 4));
        foreach (HostileGuest guest in _guests)
            guest.Resized(before, _disk.CapacitySectors);
    }

    /// <summary>The store turns out not to support discards. Those in flight may still succeed.</summary>
    private int RefuseDiscard()
    {
        _discardsRefused = true;
        foreach (Posted posted in _guests.SelectMany(guest => guest.InFlight))
            posted.MayBeUnsupported |= posted.Operation == Abi.Blkif.OpDiscard;
        return -Errno.EOPNOTSUPP;
    }

    /// <summary>A completion that comes twice, or of an operation that never was.</summary>
    private void Stray()
    {
        if (_over.Count == 0)
            return;
        ScriptedOperation operation = _over[_random.Next(_over.Count)];
        _disk.CompleteAgain(operation, _random.Next(2) == 0 ? -Errno.EIO : operation.LengthBytes);
        GuestOf(operation).Wake();
        _strays++;
    }

    /// <summary>
    /// Each side does the work that it still has, and no more: a side that waits for a lost event keeps waiting.
    /// </summary>
    private void ComeToRest()
    {
        _life.StepsLeft = Mortality.Immortal;
        _throttle.Limits = new ThrottleLimits();
        foreach (HostileGuest guest in _guests)
        {
            if (!guest.Rig.Queue.IsAttached)
                guest.PauseOrGoOn();
            guest.Push();
        }
        for (int rounds = 0; rounds < 100_000; rounds++)
        {
            Now++;
            CompleteOne();
            bool any = _disk.UnderWay.Length > 0;
            foreach (HostileGuest guest in _guests)
            {
                guest.TimePasses();
                any |= guest.IsReady;
                if (guest.IsReady)
                    guest.Turn(looksOn: false);
                int answered = guest.Answered;
                guest.TakeResponses(_history, this);
                any |= guest.Answered != answered;
            }
            if (any)
                continue;
            Assert.All(_guests, guest => Assert.Empty(guest.InFlight));
            Assert.All(_guests, guest => Assert.Equal(0, guest.Rig.Queue.InFlight));
            // It is unknown what a daemon that was killed had noticed.
            if (Deaths == 0)
                Assert.Equal(_strays, _guests.Sum(guest => guest.Rig.Statistics.StaleCompletions));
            _history.Settle(++Now);
            return;
        }
        Assert.Fail("the queues never come to rest");
    }

    private void CheckDisk()
    {
        for (int sector = 0; sector < _options.Sectors; sector++)
        {
            ulong? word = DiskHistory.WordOf(_disk.Content.AsSpan(sector * Disk.SectorBytes, Disk.SectorBytes));
            Assert.True(
                word is { } held && _history.IsPossible(sector, held, Now, Now),
                $"sector {sector} holds {word:x}, which cannot be"
            );
        }
    }

    public void Dispose()
    {
        // The first owns the disk.
        for (int i = _guests.Length; i-- > 0; )
            _guests[i].Dispose();
    }
}
