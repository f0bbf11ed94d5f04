using Blkring.Engine.Queues;

namespace Blkring.Engine.Reactors;

/// <summary>
/// The queues that a reactor serves, each at a fixed index, and the queues that are leaving. Used only on the reactor's
/// thread.
/// </summary>
internal sealed class CarriedQueues(string reactor, int capacity, Waiter waiter)
{
    /// <summary>
    /// The most ranges of mapped pages that a thread unmaps before it looks at its queues again. Each is a call of the
    /// hypervisor, and one queue may have 2,300.
    /// </summary>
    public const int UnmapShare = 32;

    private readonly List<Departure> _departures = [];

    /// <summary>The queues by index; null where there is none.</summary>
    public VbdQueue?[] Slots { get; } = new VbdQueue?[capacity];

    /// <summary>No queue has this index or a higher one.</summary>
    public int Count { get; private set; }

    /// <summary>Whether a queue is being drained or removed.</summary>
    public bool AnyDeparting => _departures.Count > 0;

    /// <summary>Takes the queue and attaches it to its disk and ring.</summary>
    /// <exception cref="InvalidOperationException">The reactor has no free index.</exception>
    public int Add(VbdQueue queue, PassRequests requests)
    {
        int index = Array.IndexOf(Slots, null);
        if (index < 0)
            throw new InvalidOperationException(
                $"the reactor '{reactor}' already carries {Slots.Length} queues: use another"
            );
        Slots[index] = queue;
        Count = Math.Max(Count, index + 1);
        queue.AttachDisk((ushort)index, waiter.Ring, () => requests.Request(index));
        waiter.Add(index, queue);
        queue.AttachRing();
        return index;
    }

    public bool Carries(VbdQueue queue) => Array.IndexOf(Slots, queue) >= 0;

    /// <exception cref="InvalidOperationException">The queue is not carried.</exception>
    public int IndexOf(VbdQueue queue)
    {
        int index = Array.IndexOf(Slots, queue);
        return index >= 0
            ? index
            : throw new InvalidOperationException($"the reactor '{reactor}' does not carry this queue");
    }

    /// <summary>Takes no more requests from the queue; the rest happens in <see cref="RunDepartures"/>.</summary>
    /// <param name="leaves">Whether the queue leaves once it has no requests in flight; if not, it stays,
    /// drained.</param>
    public Departure BeginDeparture(VbdQueue queue, bool leaves)
    {
        // A removal that timed out and is requested again continues.
        if (leaves && _departures.Find(other => other.Queue == queue && other.Leaves) is { } underWay)
            return underWay;
        Departure departure = new(queue, leaves);
        if (Array.IndexOf(Slots, queue) < 0)
        {
            departure.Done.Set();
            return departure;
        }
        queue.DetachRing();
        _departures.Add(departure);
        return departure;
    }

    /// <summary>Ends the drain of a queue that stays, and takes requests from it again.</summary>
    /// <exception cref="InvalidOperationException">The queue is not carried, or is leaving.</exception>
    public int Resume(VbdQueue queue)
    {
        int index = IndexOf(queue);
        if (_departures.Exists(departure => departure.Queue == queue && departure.Leaves))
            throw new InvalidOperationException("the queue is being removed: it cannot be resumed");
        _departures.RemoveAll(departure => departure.Queue == queue);
        queue.AttachRing();
        return index;
    }

    /// <summary>
    /// The last look at the departures left pages mapped: another is to follow it without a sleep.
    /// </summary>
    public bool IsUnmapping { get; private set; }

    /// <summary>Completes the departures of queues that have no more requests in flight, but for kept ones.</summary>
    public void RunDepartures()
    {
        int share = UnmapShare;
        IsUnmapping = false;
        for (int i = _departures.Count; i-- > 0; )
        {
            Departure departure = _departures[i];
            VbdQueue queue = departure.Queue;
            int index = Array.IndexOf(Slots, queue);
            // Without an index, the queue has been removed while a drain of it was waiting: that drain is over, too.
            if (index >= 0 && !queue.IsQuiet)
                continue;
            if (index >= 0 && departure.Leaves)
            {
                if (queue.HoldsIdleGrants)
                {
                    share -= share > 0 ? queue.ReleaseIdleGrants(long.MaxValue, share) : 0;
                    if (share == 0)
                    {
                        IsUnmapping = true;
                        continue;
                    }
                }
                if (!waiter.TryRemove(index, queue))
                    continue;
            }
            _departures.RemoveAt(i);
            if (index >= 0 && departure.Leaves)
            {
                queue.DetachDisk();
                Slots[index] = null;
            }
            departure.Done.Set();
        }
    }

    /// <summary>A queue that is being drained, and then removed if it leaves.</summary>
    internal sealed class Departure(VbdQueue queue, bool leaves)
    {
        public VbdQueue Queue { get; } = queue;
        public bool Leaves { get; } = leaves;
        public ManualResetEventSlim Done { get; } = new();
    }
}
