using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Engine.Vbds;

/// <summary>
/// One ring: the constructor maps it and binds its event channel; a reactor serves it from <see cref="Serve"/> to
/// <see cref="Stop"/>.
/// </summary>
internal sealed unsafe class ServedRing
{
    private readonly RingAccess _access;
    private readonly MappingBudget _budget;
    private readonly MappedShare _share;
    private IReactors? _reactors;
    private Reactor? _reactor;
    private bool _stopped;
    private long _askedAt;

    /// <param name="access">Owned by the ring from here on, even if the constructor throws.</param>
    public ServedRing(
        RingAccess access,
        VbdRing ring,
        RingIdentity identity,
        Disk disk,
        VbdQueueOptions options,
        string? journalPath,
        MappingBudget budget
    )
    {
        (_access, _budget) = (access, budget);
        int pages = ring.References.Count,
            slots = BlkifProtocols.MaxEntries(pages);
        foreach (VbdQueueOptions next in options.ByMapping(slots))
        {
            options = next;
            _share = new MappedShare(next.MappedRanges(slots), next.MappedPages(slots));
            if (budget.TryTake(access.Frontend, _share, next.MapsSpare(slots)))
                break;
        }
        try
        {
            access.SetGrantLimit(pages + options.MappedPages(slots));
            byte* shared = access.MapRing([.. ring.References]);
            access.BindEventChannel(ring.EventChannel);
            uint index = options.Takeover ? Volatile.Read(ref ((Blkif.Sring*)shared)->RspProd) : 0;
            Queue = CreateQueue(shared, identity, disk, options with { RingIndex = index }, journalPath);
        }
        catch
        {
            access.Dispose();
            budget.Return(identity.Frontend, _share);
            throw;
        }
    }

    public VbdQueue Queue { get; }

    /// <summary>The guest's pages that it may have mapped at a time, apart from the ring.</summary>
    public int MaxMappedPages => _share.Grants;

    private VbdQueue CreateQueue(
        byte* shared,
        RingIdentity identity,
        Disk disk,
        VbdQueueOptions options,
        string? journalPath
    )
    {
        RingJournal? journal = journalPath is null ? null : new RingJournal(journalPath, identity);
        try
        {
            return new VbdQueueFactory(shared, identity.Protocol, options with { Journal = journal }, disk).Create(
                _access
            );
        }
        catch
        {
            journal?.Dispose();
            throw;
        }
    }

    public void Serve(IReactors reactors)
    {
        Reactor reactor = reactors.Take();
        try
        {
            reactor.Add(Queue);
        }
        catch
        {
            reactors.Release(reactor);
            throw;
        }
        (_reactors, _reactor) = (reactors, reactor);
    }

    /// <summary>Fails the requests that a lost disk refused, now and from now on.</summary>
    public void FailLost()
    {
        if (!_stopped)
            _reactor?.FailLost(Queue);
    }

    public bool Drain(TimeSpan timeout) => _stopped || _reactor is null || _reactor.Drain(Queue, timeout);

    /// <summary>
    /// How long the oldest request without an answer has been under way, as of the last <see cref="Look"/>; or for how
    /// long the ring's thread has not answered one.
    /// </summary>
    public TimeSpan OldestRequest { get; private set; }

    /// <summary>Asks the thread how old the requests are, and does not wait for the answer.</summary>
    public void Look(TimeProvider time)
    {
        if (_stopped || _reactor is not { } reactor)
            return;
        long now = time.GetTimestamp();
        if (Volatile.Read(ref _askedAt) is not 0 and var asked)
        {
            // It is stuck in the kernel: so is every request on it.
            if (Queue.InFlight > 0)
                OldestRequest = time.GetElapsedTime(asked, now);
            return;
        }
        if (Queue.InFlight == 0)
        {
            OldestRequest = TimeSpan.Zero;
            return;
        }
        Volatile.Write(ref _askedAt, now);
        reactor.Post(
            Queue,
            () =>
            {
                long taken = Queue.OldestTakenAt;
                OldestRequest = taken == 0 ? TimeSpan.Zero : time.GetElapsedTime(taken);
                Volatile.Write(ref _askedAt, 0);
            }
        );
    }

    public void Resume()
    {
        if (!_stopped)
            _reactor?.Resume(Queue);
    }

    /// <returns>The number of passes of the queue; null while a request is not answered yet.</returns>
    public long? PassesWhenIdle()
    {
        if (_stopped || _reactor is null)
            return 0;
        long? passes = null;
        _reactor.Invoke(() => passes = Queue.HasUnanswered ? null : Queue.Statistics.Passes);
        return passes;
    }

    public bool Stop(TimeSpan timeout)
    {
        if (_stopped)
            return true;
        if (_reactor is not null && !_reactor.Remove(Queue, timeout))
            return false;
        _stopped = true;
        _access.Dispose();
        Queue.Dispose();
        _budget.Return(_access.Frontend, _share);
        if (_reactor is not null)
            _reactors!.Release(_reactor);
        return true;
    }
}
