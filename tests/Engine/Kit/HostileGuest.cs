using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Kit;

/// <summary>A request of a <see cref="HostileGuest"/>, and what may become of it.</summary>
internal sealed class Posted
{
    public required Blkif.DecodedRequest Request { get; init; }
    public required HostileGuest Guest { get; init; }

    /// <summary>Its place in the order of all requests that the guest posted.</summary>
    public required int Order { get; init; }
    public required int PostedAt { get; init; }

    /// <summary>Its pages.</summary>
    public required int Number { get; init; }

    /// <summary>The operation that a response names.</summary>
    public byte AnsweredAs { get; set; }

    /// <summary>READ, WRITE, FLUSH_DISKCACHE, WRITE_BARRIER or DISCARD; -1 when it is none of them.</summary>
    public int Operation { get; set; } = -1;

    /// <summary>The answer that its fields alone demand; null when it can be served.</summary>
    public int? Refusal { get; set; }

    /// <summary>
    /// Its segments, as they stand in the request or its list, with the pages that the grants stand for.
    /// </summary>
    public List<Blkif.RequestSegment> Segments { get; } = [];
    public List<(int Number, int Page)> Pages { get; } = [];
    public int Sectors { get; set; }
    public long Start => (long)Request.SectorNumber;
    public long End => Start + Sectors;

    /// <summary>One of its grants does not exist, or does not allow the access that the request needs.</summary>
    public bool HasBadGrant { get; set; }

    /// <summary>
    /// It ends beyond the end that the disk had when it was posted, and within the largest size of the disk.
    /// </summary>
    public bool IsBeyondEnd { get; set; }

    /// <summary>The disk's length has changed since it was posted: it may be refused or served.</summary>
    public bool IsDoubtful { get; set; }

    /// <summary>A discard on a disk that no longer supports it.</summary>
    public bool IsUnsupported { get; set; }
    public bool MayBeUnsupported { get; set; }

    /// <summary>Something failed that may belong to this request, or must.</summary>
    public bool MayFail { get; set; }
    public bool MustFail { get; set; }
    public List<DiskHistory.Entry> Written { get; } = [];
    public bool IsOrderedBarrier => Operation == Blkif.OpWriteBarrier && Refusal is null && !IsBeyondEnd && !IsDoubtful;
    public bool Changes => Operation is Blkif.OpWrite or Blkif.OpFlushDiskcache or Blkif.OpWriteBarrier;

    public override string ToString() =>
        $"#{Order} {Request.Operation}/{Operation} {Request.SectorNumber}+{Sectors} "
        + $"in {Request.NrSegments} segments of {Number}, posted at {PostedAt}";
}

/// <summary>
/// The frontend of one ring. It posts requests of every kind; most are valid, and each of the others has one thing
/// wrong. It waits for its backend as an honest frontend does, so a lost event leaves it waiting.
/// </summary>
internal sealed unsafe class HostileGuest : IDisposable
{
    private readonly Rig _rig;
    private readonly AdversaryOptions _options;
    private readonly Random _random;
    private readonly Dictionary<ulong, Posted> _inFlight = [];
    private readonly Stack<int> _numbers = new();
    private readonly List<uint> _takenBack = [];
    private uint _word;
    private int _order,
        _notified;

    // Whether it looks for responses, or sleeps until it is notified.
    private bool _awake = true;

    // Whether its event channel is masked at the backend, and whether an event is pending there.
    private bool _masked,
        _pending;
    private int _unmasked;

    public HostileGuest(AdversaryOptions options, Random random, ScriptedDisk? disk, Throttle throttle, Mortality life)
    {
        (_options, _random) = (options, random);
        _rig = new Rig(
            options.Protocol,
            new RigOptions
            {
                RingPages = options.RingPages,
                RingIndex = options.RingIndex,
                Sectors = options.Sectors,
                AlignmentBytes = options.AlignmentBytes,
                NativeSectors = options.NativeSectors,
                ReadOnly = options.ReadOnly,
                MaxInFlight = options.MaxInFlight,
                MaxIndirectSegments = options.MaxIndirectSegments,
                IndirectMemoryBytes = options.IndirectMemoryBytes,
                GrantMode = options.GrantMode,
                MaxPersistentGrants = options.MaxPersistentGrants,
                Throttle = throttle,
                Disk = disk,
                Life = life,
                JournalPath = options.JournalPath is { } path ? $"{path}-{options.GuestId}" : null,
            }
        );
        // The guest decides for each grant what it allows.
        _rig.Frontend.PersistentGrants = false;
        for (int number = _rig.Frontend.EntryCount; number-- > 0; )
            _numbers.Push(number);
    }

    public Rig Rig => _rig;
    public IReadOnlyCollection<Posted> InFlight => _inFlight.Values;

    /// <summary>The thread that serves it would turn the queue now.</summary>
    public bool IsReady { get; private set; } = true;

    /// <summary>It would turn the queue after a while.</summary>
    public bool IsLater { get; private set; }
    public int Answered { get; private set; }
    public int Served { get; private set; }

    public void Wake() => IsReady = true;

    public void TimePasses()
    {
        if (IsLater)
            IsReady = true;
    }

    /// <summary>Its daemon was killed at any step, and the next one has opened the disk.</summary>
    public void NextDaemon(ScriptedDisk disk)
    {
        _rig.NextDaemon(disk);
        // A failure that was not yet reported need not happen again.
        foreach (Posted posted in _inFlight.Values)
            posted.MustFail = false;
        _masked = _pending = IsLater = false;
        IsReady = true;
    }

    /// <summary>Its device is drained, or served again.</summary>
    public void PauseOrGoOn()
    {
        if (_rig.Queue.IsAttached)
        {
            _rig.Queue.DetachRing();
            return;
        }
        _rig.Queue.AttachRing();
        IsReady = true;
    }

    /// <summary>One turn, and what a reactor does after it.</summary>
    public void Turn(bool looksOn)
    {
        IsReady = IsLater = false;
        PassResult result = _rig.Queue.RunPass();
        Assert.InRange(_rig.Queue.InFlight, 0, _rig.Frontend.EntryCount);
        IsLater = result == PassResult.Retry;
        if (result == PassResult.More || (looksOn && _rig.Queue.HasRequests) || _rig.Queue.FinalCheckForRequests())
        {
            IsReady = true;
            return;
        }
        _rig.Queue.UnmaskEvents();
        if (_rig.Witness.Unmasks == _unmasked)
            return;
        _unmasked = _rig.Witness.Unmasks;
        _masked = false;
        if (_pending)
            Notified();
    }

    private void Notified()
    {
        _pending = _masked;
        if (_masked)
            return;
        _masked = true;
        _rig.Queue.ConsumeEvent();
        IsReady = true;
    }

    public void Push()
    {
        if (_rig.Frontend.Push())
            Notified();
    }

    /// <param name="refusesDiscards">
    /// The disk has said that it cannot discard, which the queue may not have heard yet.
    /// </param>
    public void Post(DiskHistory history, long capacity, bool refusesDiscards, int now)
    {
        if (_rig.Frontend.FreeRequests == 0 || _numbers.Count == 0)
            return;
        int number = _numbers.Pop();
        Blkif.DecodedRequest request = Make(number);
        Posted posted = new()
        {
            Request = request,
            Guest = this,
            Order = _order++,
            PostedAt = now,
            Number = number,
        };
        Judge(posted, capacity);
        posted.MayBeUnsupported = refusesDiscards && posted.Operation == Blkif.OpDiscard;
        FillPages(posted);
        if (posted.Refusal is null)
            Remember(posted, history, now);
        _inFlight.Add(request.Id, posted);
        _rig.Put(in request);
    }

    private Blkif.DecodedRequest Make(int number)
    {
        int kind = _random.Next(100);
        int operation = kind switch
        {
            < 35 => Blkif.OpRead,
            < 75 => Blkif.OpWrite,
            < 82 => Blkif.OpFlushDiskcache,
            < 86 => Blkif.OpWriteBarrier,
            < 96 => Blkif.OpDiscard,
            _ => _random.Next(256),
        };
        ulong id;
        do id = ((ulong)_random.NextInt64(long.MinValue, long.MaxValue) << 16) | (uint)number;
        while (_inFlight.ContainsKey(id));
        Blkif.DecodedRequest request = new()
        {
            Operation = (byte)operation,
            Id = id,
            Handle = (ushort)_random.Next(65536),
            SectorNumber = (ulong)_random.NextInt64(_options.Sectors),
        };
        if (operation == Blkif.OpDiscard)
        {
            request.Flag = (byte)_random.Next(256);
            request.NrSectors = (ulong)_random.Next(100);
        }
        else
        {
            bool indirect =
                _options.MaxIndirectSegments > 0
                && (
                    operation == Blkif.OpIndirect
                    || (operation is Blkif.OpRead or Blkif.OpWrite && _random.Next(3) == 0)
                );
            AddSegments(ref request, number, operation, indirect);
        }
        if (_random.Next(12) == 0)
            Spoil(ref request, number);
        return request;
    }

    private void AddSegments(ref Blkif.DecodedRequest request, int number, int operation, bool indirect)
    {
        int most = indirect ? _options.MaxIndirectSegments : Blkif.MaxSegmentsPerRequest;
        int segments =
            operation is Blkif.OpFlushDiskcache or Blkif.OpWriteBarrier && _random.Next(2) == 0
                ? 0
                : 1 + _random.Next(_random.Next(3) == 0 ? most : Math.Min(most, 4));
        bool whole = _random.Next(2) == 0;
        if (_options.NativeSectors && _random.Next(8) != 0)
        {
            whole = true;
            request.SectorNumber &= ~7UL;
        }
        if (indirect)
            _rig.Frontend.MakeIndirect(
                ref request,
                number,
                operation == Blkif.OpIndirect ? _random.Next(8) : operation,
                segments
            );
        request.NrSegments = (ushort)segments;
        for (int i = 0; i < segments; i++)
        {
            int first = whole ? 0 : _random.Next(8),
                last = whole ? 7 : first + _random.Next(8 - first);
            int page = _random.Next(40) == 0 ? _random.Next(segments) : i;
            SetSegment(
                ref request,
                number,
                i,
                new Blkif.RequestSegment
                {
                    Gref = _rig
                        .Frontend.GrantOf(number, page, readOnly: operation != Blkif.OpRead && _random.Next(2) == 0)
                        .Value,
                    FirstSect = (byte)first,
                    LastSect = (byte)last,
                }
            );
        }
    }

    private void SetSegment(ref Blkif.DecodedRequest request, int number, int i, Blkif.RequestSegment segment)
    {
        if (request.Operation == Blkif.OpIndirect)
            _rig.Frontend.SegmentListOf(number)[i] = segment;
        else
            request.Seg[i] = segment;
    }

    /// <summary>Changes one thing so that it is wrong, or at least unusual.</summary>
    private void Spoil(ref Blkif.DecodedRequest request, int number)
    {
        bool hasSegments = request.Operation != Blkif.OpDiscard && request.NrSegments > 0;
        int at = hasSegments ? _random.Next(request.NrSegments) : 0;
        Blkif.RequestSegment segment = hasSegments ? SegmentAt(in request, number, at) : default;
        switch (_random.Next(9))
        {
            case 0:
                request.SectorNumber = Pick(
                    (ulong)_options.Sectors,
                    (ulong)_options.Sectors - 1,
                    ulong.MaxValue,
                    ulong.MaxValue - 7,
                    1UL << 55,
                    1UL << 63,
                    (ulong)_options.Sectors - 8
                );
                return;
            case 1 when request.Operation == Blkif.OpDiscard:
                request.NrSectors = Pick(
                    0UL,
                    ulong.MaxValue,
                    1UL << 55,
                    1UL << 54,
                    (ulong)_options.Sectors,
                    (ulong)_options.Sectors + 1
                );
                return;
            case 1 when request.Operation == Blkif.OpIndirect:
                request.NrSegments = Pick<ushort>(0, 65535, 257, 4097, (ushort)(_options.MaxIndirectSegments + 1));
                return;
            case 1:
                request.NrSegments = Pick<ushort>(12, 255, 0);
                return;
            case 2 when request.Operation == Blkif.OpIndirect:
                request.IndirectOp = (byte)Pick(
                    Blkif.OpIndirect,
                    Blkif.OpDiscard,
                    Blkif.OpWriteBarrier,
                    Blkif.OpFlushDiskcache,
                    255
                );
                return;
            case 3 when request.Operation == Blkif.OpIndirect:
                request.IndirectGrefs[0] = BadReference();
                return;
            case 4 when hasSegments:
                (segment.FirstSect, segment.LastSect) = Pick<(byte, byte)>(
                    (0, 8),
                    (3, 2),
                    (255, 255),
                    (7, 0),
                    (0, 255)
                );
                break;
            case 5 or 6 when hasSegments:
                segment.Gref = BadReference();
                break;
            case 7 when hasSegments:
                segment.Gref = _rig.Frontend.GrantOf(number, at, readOnly: true).Value;
                break;
            default:
                return;
        }
        SetSegment(ref request, number, at, segment);
    }

    private T Pick<T>(params T[] values) => values[_random.Next(values.Length)];

    private uint BadReference() => Pick(0u, (uint)_rig.Domain.Memory.Grants, uint.MaxValue, 7u);

    private Blkif.RequestSegment SegmentAt(in Blkif.DecodedRequest request, int number, int i) =>
        request.Operation == Blkif.OpIndirect ? _rig.Frontend.SegmentListOf(number)[i] : request.Seg[i];

    /// <summary>
    /// What blkif.h says of such a request. Written independently of the engine: a mistake passes only if both make it.
    /// </summary>
    private void Judge(Posted posted, long capacity)
    {
        Blkif.DecodedRequest request = posted.Request;
        bool indirect = request.Operation == Blkif.OpIndirect;
        posted.AnsweredAs = request.Operation;
        int operation = request.Operation,
            most = Blkif.MaxSegmentsPerRequest;
        if (indirect)
        {
            if (_options.MaxIndirectSegments == 0)
                posted.Refusal = Blkif.RspEopnotsupp;
            else if (request.IndirectOp > 1)
                posted.Refusal = Blkif.RspError;
            if (posted.Refusal is not null)
                return;
            (operation, most) = (request.IndirectOp, _options.MaxIndirectSegments);
            posted.AnsweredAs = request.IndirectOp;
        }
        if (operation is Blkif.OpReserved1 or > Blkif.OpIndirect)
        {
            posted.Refusal = Blkif.RspEopnotsupp;
            return;
        }
        posted.Operation = operation;
        if (_options.ReadOnly && operation != Blkif.OpRead)
        {
            posted.Refusal = Blkif.RspError;
            return;
        }
        if (operation == Blkif.OpDiscard)
        {
            JudgeEnd(posted, request.NrSectors, capacity);
            if (posted.Refusal is null)
                posted.Sectors = (int)request.NrSectors;
            posted.IsUnsupported = !_rig.Disk.DiscardSupported;
            return;
        }
        if (request.NrSegments > most || (indirect && request.NrSegments == 0))
        {
            posted.Refusal = Blkif.RspError;
            return;
        }
        if (indirect && IsBad(request.IndirectGrefs[0]))
        {
            posted.HasBadGrant = true;
            posted.Operation = -1;
            return;
        }
        JudgeSegments(posted, capacity);
    }

    private void JudgeEnd(Posted posted, ulong sectors, long capacity)
    {
        UInt128 end = (UInt128)posted.Request.SectorNumber + sectors;
        if (end > (UInt128)_options.Sectors)
            posted.Refusal = Blkif.RspError;
        else
            posted.IsBeyondEnd = end > (UInt128)capacity;
    }

    /// <summary>The disk's length has changed.</summary>
    public void Resized(long before, long now)
    {
        foreach (Posted posted in _inFlight.Values)
            if (posted.End <= before != posted.End <= now)
                posted.IsDoubtful = true;
    }

    private void JudgeSegments(Posted posted, long capacity)
    {
        Blkif.DecodedRequest request = posted.Request;
        for (int i = 0; i < request.NrSegments; i++)
        {
            Blkif.RequestSegment segment = SegmentAt(in request, posted.Number, i);
            if (segment.FirstSect > segment.LastSect || segment.LastSect > 7)
            {
                posted.Refusal = Blkif.RspError;
                return;
            }
            posted.Segments.Add(segment);
            posted.Sectors += segment.LastSect - segment.FirstSect + 1;
        }
        bool hasPlace = posted.Sectors > 0 || posted.Operation is Blkif.OpRead or Blkif.OpWrite;
        if (hasPlace)
            JudgeEnd(posted, (uint)posted.Sectors, capacity);
        if (_options.NativeSectors && hasPlace && ((request.SectorNumber | (uint)posted.Sectors) & 7) != 0)
            posted.Refusal = Blkif.RspError;
        if (posted.Refusal is not null)
            return;
        foreach (Blkif.RequestSegment segment in posted.Segments)
        {
            int page = PageOf(posted.Number, segment.Gref, request.NrSegments, out bool readOnly);
            posted.Pages.Add((posted.Number, page));
            if (page < 0 || (readOnly && posted.Operation == Blkif.OpRead))
                posted.HasBadGrant = true;
        }
    }

    private bool IsBad(uint reference) => reference is 0 or 7 || reference >= (uint)_rig.Domain.Memory.Grants;

    private int PageOf(int number, uint reference, int pages, out bool readOnly)
    {
        foreach (bool only in (bool[])[false, true])
        {
            readOnly = only;
            for (int page = 0; page < Math.Max(pages, 1); page++)
                if (_rig.Frontend.GrantOf(number, page, only).Value == reference)
                    return page;
        }
        readOnly = false;
        return -1;
    }

    private Span<byte> SectorOf(int number, int page, int sector) =>
        new(_rig.Frontend.BufferOf(number, page) + (sector * Disk.SectorBytes), Disk.SectorBytes);

    private int PagesOf(Posted posted) => Math.Min((int)posted.Request.NrSegments, _rig.Frontend.SegmentsPerRequest);

    /// <summary>Fills every sector of its pages with a word that no other sector ever had.</summary>
    private void FillPages(Posted posted)
    {
        if (posted.Request.Operation == Blkif.OpDiscard)
            return;
        for (int page = 0; page < PagesOf(posted); page++)
        for (int sector = 0; sector < Requests.PageSectors; sector++)
            DiskHistory.Fill(SectorOf(posted.Number, page, sector), ++_word | ((ulong)(uint)_options.GuestId << 40));
    }

    private void Remember(Posted posted, DiskHistory history, int now)
    {
        if (posted.Operation == Blkif.OpDiscard)
        {
            for (long sector = posted.Start; sector < posted.End; sector++)
                posted.Written.Add(history.Discard(sector, now));
            return;
        }
        if (!posted.Changes || posted.HasBadGrant)
            return;
        long at = posted.Start;
        for (int i = 0; i < posted.Segments.Count; i++)
        for (int sector = posted.Segments[i].FirstSect; sector <= posted.Segments[i].LastSect; sector++, at++)
            posted.Written.Add(
                history.Write(at, DiskHistory.WordOf(SectorOf(posted.Number, posted.Pages[i].Page, sector))!.Value, now)
            );
    }

    /// <summary>Revokes a grant of a request in flight, which then may succeed or fail.</summary>
    public void TakeGrantBack()
    {
        Posted[] posted =
        [
            .. _inFlight.Values.Where(one => one.Segments.Count > 0 && !one.HasBadGrant && one.Refusal is null),
        ];
        if (posted.Length == 0)
            return;
        Posted chosen = posted[_random.Next(posted.Length)];
        uint reference = chosen.Segments[_random.Next(chosen.Segments.Count)].Gref;
        foreach (Posted other in posted)
            if (other.Segments.Exists(segment => segment.Gref == reference))
                other.MayFail = true;
        _rig.Domain.Revoke(new GrantReference(reference));
        _takenBack.Add(reference);
    }

    /// <summary>
    /// Takes the responses, if it was notified of any, and checks each against the model.
    /// </summary>
    public void TakeResponses(DiskHistory history, Adversary adversary)
    {
        if (_rig.Witness.Notifications != _notified)
            _awake = true;
        _notified = _rig.Witness.Notifications;
        if (!_awake)
            return;
        Blkif.DecodedResponse response = default;
        do
        {
            while (_rig.Frontend.TryTake(ref response))
                Take(response, history, adversary);
        } while (_rig.Frontend.FinalCheckForResponses());
        _awake = false;
    }

    private void Take(Blkif.DecodedResponse response, DiskHistory history, Adversary adversary)
    {
        Assert.True(
            _inFlight.Remove(response.Id, out Posted? posted),
            $"an answer to {response.Id:x}, which is not outstanding"
        );
        int now = adversary.Now;
        Answered++;
        Assert.Equal(posted.AnsweredAs, response.Operation);
        bool flushes = posted.Operation is Blkif.OpFlushDiskcache or Blkif.OpWriteBarrier;
        if (flushes && adversary.WereWritesLostSince(posted.PostedAt))
            posted.MayFail = true;
        CheckStatus(posted, response.Status);
        CheckOrder(posted, response.Status);
        bool okay = response.Status == Blkif.RspOkay;
        if (okay)
            Served++;
        foreach (DiskHistory.Entry entry in posted.Written)
        {
            entry.Ends = now;
            // A block that is covered only in part is not discarded.
            entry.IsCertain =
                okay && (posted.Operation != Blkif.OpDiscard || _options.AlignmentBytes == Disk.SectorBytes);
        }
        if (okay && flushes)
        {
            Assert.False(
                adversary.AreWritesLostFrom(posted.PostedAt),
                $"{posted} was answered although writes are lost"
            );
            int needed = posted.Operation == Blkif.OpWriteBarrier && posted.Sectors > 0 ? 2 : 1;
            Assert.True(
                adversary.FlushesSince(posted.PostedAt) >= needed,
                $"{posted} was answered, and the disk was not flushed {needed} times since it was posted"
            );
        }
        if (posted.Operation == Blkif.OpRead && posted.Refusal is null && !posted.HasBadGrant)
            CheckRead(posted, okay, history, now);
        foreach (uint reference in _takenBack)
            Restore(reference);
        _takenBack.Clear();
        _numbers.Push(posted.Number);
    }

    private static void CheckStatus(Posted posted, int status)
    {
        int expected =
            posted.Refusal
            ?? (
                posted.IsBeyondEnd || posted.HasBadGrant || posted.MustFail ? Blkif.RspError
                : posted.IsUnsupported ? Blkif.RspEopnotsupp
                : Blkif.RspOkay
            );
        if (status == expected)
            return;
        bool may = status switch
        {
            Blkif.RspEopnotsupp => posted.MayBeUnsupported || (posted.IsUnsupported && posted.IsDoubtful),
            Blkif.RspError => posted.MayFail || posted.IsDoubtful,
            Blkif.RspOkay when posted.IsUnsupported => false,
            Blkif.RspOkay => (posted.IsDoubtful && !posted.HasBadGrant) || (posted.MayFail && !posted.IsBeyondEnd),
            _ => false,
        };
        Assert.True(posted.Refusal is null && may, $"{posted} was answered with {status}, not {expected}");
    }

    /// <summary>What came before a barrier is answered before it, and what came after it afterwards.</summary>
    private void CheckOrder(Posted posted, int status)
    {
        foreach (Posted other in _inFlight.Values)
        {
            if (other.IsOrderedBarrier && other.Order < posted.Order)
                Assert.Fail($"{posted} was answered before the barrier {other}");
            if (posted.IsOrderedBarrier && status == Blkif.RspOkay && other.Order < posted.Order)
                Assert.Fail($"the barrier {posted} was answered before {other}");
        }
    }

    private void CheckRead(Posted posted, bool okay, DiskHistory history, int now)
    {
        HashSet<(int, int)> asked = [],
            twice = [];
        for (int i = 0; i < posted.Segments.Count; i++)
        for (int sector = posted.Segments[i].FirstSect; sector <= posted.Segments[i].LastSect; sector++)
            if (!asked.Add((posted.Pages[i].Page, sector)))
                twice.Add((posted.Pages[i].Page, sector));

        long at = posted.Start;
        for (int i = 0; okay && i < posted.Segments.Count; i++)
        {
            for (int sector = posted.Segments[i].FirstSect; sector <= posted.Segments[i].LastSect; sector++, at++)
            {
                if (twice.Contains((posted.Pages[i].Page, sector)))
                    continue;
                ulong? word = DiskHistory.WordOf(SectorOf(posted.Number, posted.Pages[i].Page, sector));
                Assert.True(
                    word is { } read && history.IsPossible(at, read, posted.PostedAt, now),
                    $"{posted} read {word:x} from sector {at}, which cannot be"
                );
            }
        }
        for (int page = 0; page < PagesOf(posted); page++)
        for (int sector = 0; sector < Requests.PageSectors; sector++)
            if (!asked.Contains((page, sector)))
                Assert.True(
                    DiskHistory.WordOf(SectorOf(posted.Number, page, sector)) is { } kept
                        && kept >> 40 == (uint)_options.GuestId,
                    $"{posted} changed sector {sector} of page {page}, which it did not ask for"
                );
    }

    /// <summary>Grants a page again as it was.</summary>
    private void Restore(uint reference)
    {
        for (int number = 0; number < _rig.Frontend.EntryCount; number++)
        {
            int page = PageOf(number, reference, _rig.Frontend.SegmentsPerRequest, out bool readOnly);
            if (page < 0)
                continue;
            uint frame = (uint)((_rig.Frontend.BufferOf(number, page) - _rig.Domain.FrameAt(0)) / Arena.PageBytes);
            _rig.Domain.Regrant(new GrantReference(reference), _rig.Domain.Backend, frame, readOnly);
            return;
        }
        Assert.Fail($"grant {reference} was never given");
    }

    public void Dispose() => _rig.Dispose();
}
