using Blkring.Engine.Queues;

namespace Blkring.Engine.Reactors;

/// <summary>
/// The rounds of a reactor's thread: a pass for each queue that is ready, the waiting commands, then one wait for all
/// queues, which submits what the passes prepared. It owns no thread: <see cref="RunOnce"/> is one round, on the
/// caller's.
/// </summary>
/// <remarks>
/// Between a pass that left the ring empty and the sleep, a queue is awake: its ring is polled, and its frontend has
/// not been asked for an event. <see cref="FinalCheck"/> ends that.
/// </remarks>
internal sealed class ReactorLoop
{
    /// <summary>
    /// The time between passes of a queue whose disk said EAGAIN, and between looks at one that leaves.
    /// </summary>
    private static readonly long s_retryDelayNs = (long)VbdQueueOptions.DefaultRetryDelay.TotalNanoseconds;

    private const uint RoundsPerIdleCheck = 1024;

    /// <summary>
    /// The clock is a system call in a PV domain whose time stamp counter is not stable, and a thread that reads it
    /// sees no request meanwhile.
    /// </summary>
    private const int PollsPerClockReading = 8;

    /// <summary>
    /// The number of rings that are polled between any two passes. Beyond it, queues rely on events alone.
    /// </summary>
    private const int MaxAwake = 16;

    private readonly Waiter _waiter;
    private readonly TimeProvider _clock;
    private readonly double _nsPerTick;
    private readonly long _idleGrantsIntervalNs;
    private readonly bool _mayPoll;
    private readonly VbdQueue?[] _queues;
    private readonly ReadyQueues _ready,
        _awake;
    private readonly HeldEvents _heldEvents;
    private AdaptivePolling _polling;
    private long _idleGrantsReleasedAt,
        _pauseEndedAt,
        _allocatedBytes;
    private uint _rounds;
    private long _round;
    private bool _asleep;

    public ReactorLoop(ReactorOptions options, Waiter waiter)
    {
        (_waiter, _clock) = (waiter, StopwatchClock.Of(options.Clock));
        _nsPerTick = 1e9 / _clock.TimestampFrequency;
        _idleGrantsIntervalNs = (long)options.IdleGrantsInterval.TotalNanoseconds;
        // Without io_uring, each look would be a system call.
        _mayPoll = waiter.Ring is not null && options.PollWindow > TimeSpan.Zero;
        _polling = new AdaptivePolling((long)options.PollWindow.TotalNanoseconds);
        _ready = new ReadyQueues(options.MaxQueues);
        _awake = new ReadyQueues(options.MaxQueues);
        _heldEvents = new HeldEvents(options.MaxQueues, _clock);
        Commands = new ReactorCommands(waiter);
        PassRequests = new PassRequests(options.MaxQueues, waiter);
        Carried = new CarriedQueues(options.Name, options.MaxQueues, waiter);
        _queues = Carried.Slots;
        _idleGrantsReleasedAt = _pauseEndedAt = _clock.GetTimestamp();
    }

    public ReactorCommands Commands { get; }
    public PassRequests PassRequests { get; }
    public CarriedQueues Carried { get; }

    /// <summary>The bytes that the garbage collector has allocated for the thread, as of its last wait.</summary>
    public long AllocatedBytes => Volatile.Read(ref _allocatedBytes);

    /// <summary>The number of the round under way: for a look from another thread at whether it goes on.</summary>
    public long Round => Volatile.Read(ref _round);

    /// <summary>The thread waits for work; what it does otherwise ends soon.</summary>
    public bool IsAsleep => Volatile.Read(ref _asleep);

    public void MarkReady(int index) => _ready.Mark(index);

    /// <summary>Runs one round.</summary>
    /// <param name="mayBlock">Whether the thread busy-polls and sleeps if there is no work.</param>
    public void RunOnce(bool mayBlock)
    {
        Volatile.Write(ref _round, _round + 1);
        if (PassRequests.Any)
            PassRequests.MarkInto(_ready, Carried.Count);
        bool retry = RunPasses();
        Commands.RunAll();
        if (Carried.AnyDeparting)
            Carried.RunDepartures();
        Volatile.Write(ref _allocatedBytes, GC.GetAllocatedBytesForCurrentThread());

        // A thread that never sleeps must release idle grants as well, but that looks at every queue: not in each
        // round.
        if (++_rounds % RoundsPerIdleCheck == 0)
            ReleaseIdleGrants();
        bool rests = !(HasWork() || (mayBlock && BusyPoll()) || FinalCheck() || !mayBlock);
        long timeoutNs = _heldEvents.UnmaskDue(
            _queues,
            !rests ? -1
                : retry || Carried.AnyDeparting ? s_retryDelayNs
                : ReleaseIdleGrants()
        );
        if (rests)
            Sleep(timeoutNs);
        else
            _waiter.Wait(_ready, block: false, -1);
        if (retry)
            MarkAll();
    }

    /// <summary>
    /// Runs one pass for each queue that is ready now; those that want another one wait for the next round.
    /// </summary>
    /// <returns>Whether a disk operation has to be requeued.</returns>
    private bool RunPasses()
    {
        bool retry = false;
        for (int passes = _ready.Count; passes > 0; passes--)
        {
            int index = _ready.Take();
            if (_queues[index] is not { } queue)
                continue;
            // Polling pays, so the frontend does not need this CPU.
            bool frontendHasOwnCpu = _polling.WindowNs > 0;
            PassResult result = RunPass(queue, frontendHasOwnCpu);
            if (result == PassResult.More)
                _ready.Mark(index);
            else if (frontendHasOwnCpu && _awake.Count < MaxAwake)
                _awake.Mark(index);
            // Now, not before the sleep: other queues may keep this thread from ever sleeping.
            else
                AskForEvent(index, queue);
            retry |= result == PassResult.Retry;
        }
        return retry;
    }

    /// <summary>A bug over one queue's request ends the service of that queue, not of all guests.</summary>
    private static PassResult RunPass(VbdQueue queue, bool frontendHasOwnCpu)
    {
        try
        {
            return queue.RunPass(frontendHasOwnCpu);
        }
        catch (Exception bug)
        {
            queue.EndByCrash(bug);
            return PassResult.Idle;
        }
    }

    private static int ReleaseIdleGrants(VbdQueue queue, long now, int maxRanges)
    {
        try
        {
            return queue.ReleaseIdleGrants(now, maxRanges);
        }
        catch (Exception bug)
        {
            queue.EndByCrash(bug);
            return 0;
        }
    }

    private void MarkAll()
    {
        for (int index = 0; index < Carried.Count; index++)
            if (_queues[index] is not null)
                _ready.Mark(index);
    }

    private bool HasWork()
    {
        MarkPosted();
        return _ready.Count > 0 || PassRequests.Any || Commands.Any || Carried.IsUnmapping;
    }

    /// <summary>Marks the awake queues that have received requests in the meantime.</summary>
    private void MarkPosted()
    {
        for (int count = _awake.Count; count > 0; count--)
        {
            int index = _awake.Take();
            if (_queues[index] is not { } queue)
                continue;
            if (queue.HasRequests)
                _ready.Mark(index);
            else
                _awake.Mark(index);
        }
    }

    /// <summary>
    /// Polls completions and the rings that are awake for as long as <see cref="AdaptivePolling"/> allows.
    /// </summary>
    /// <returns>Whether there is work.</returns>
    private bool BusyPoll()
    {
        if (!_mayPoll)
            return false;
        long start = _clock.GetTimestamp();
        _polling.Worked(NsBetween(_pauseEndedAt, start));
        _pauseEndedAt = start;
        long window = _polling.WindowNs;
        if (window == 0)
            return false;
        do
        {
            for (int poll = 0; poll < PollsPerClockReading; poll++)
            {
                _waiter.Wait(_ready, block: false, -1);
                if (!HasWork())
                    continue;
                _polling.PollHit();
                return true;
            }
            _pauseEndedAt = _clock.GetTimestamp();
        } while (NsBetween(start, _pauseEndedAt) < window);
        _polling.PollMissed();
        return false;
    }

    /// <summary>Asks the frontends of all awake queues for events.</summary>
    /// <returns>Whether one of them has posted a request just before.</returns>
    private bool FinalCheck()
    {
        while (_awake.Count > 0)
        {
            int index = _awake.Take();
            if (_queues[index] is { } queue)
                AskForEvent(index, queue);
        }
        return _ready.Count > 0;
    }

    /// <summary>From here on, an event announces the queue's next request, unless there is one already.</summary>
    private void AskForEvent(int index, VbdQueue queue)
    {
        if (queue.FinalCheckForRequests())
            _ready.Mark(index);
        else
            _heldEvents.Unmask(index, queue);
    }

    private void Sleep(long timeoutNs)
    {
        Volatile.Write(ref _asleep, true);
        SleepNow(timeoutNs);
        Volatile.Write(ref _asleep, false);
    }

    private void SleepNow(long timeoutNs)
    {
        if (!_mayPoll)
        {
            _waiter.Wait(_ready, block: true, timeoutNs);
            return;
        }
        long start = _clock.GetTimestamp();
        _waiter.Wait(_ready, block: true, timeoutNs);
        _pauseEndedAt = _clock.GetTimestamp();
        _polling.Slept(NsBetween(start, _pauseEndedAt));
    }

    /// <summary>If it is time, makes the queues unmap persistent grants that have been idle for long.</summary>
    /// <returns>The nanoseconds until it is time again; -1 if no queue has such grants.</returns>
    private long ReleaseIdleGrants()
    {
        if (!AnyHoldsIdleGrants())
            return -1;
        long now = _clock.GetTimestamp();
        long since = NsBetween(_idleGrantsReleasedAt, now);
        if (since < _idleGrantsIntervalNs)
            return _idleGrantsIntervalNs - since;
        // A share per look: requests that come meanwhile do not wait for all of it.
        int share = CarriedQueues.UnmapShare;
        for (int index = 0; index < Carried.Count && share > 0; index++)
            if (_queues[index] is { } queue)
                share -= ReleaseIdleGrants(queue, now, share);
        if (share == 0)
            return s_retryDelayNs;
        _idleGrantsReleasedAt = now;
        return _idleGrantsIntervalNs;
    }

    private bool AnyHoldsIdleGrants()
    {
        for (int index = 0; index < Carried.Count; index++)
            if (_queues[index] is { HoldsIdleGrants: true })
                return true;
        return false;
    }

    private long NsBetween(long from, long to) => (long)((to - from) * _nsPerTick);
}
