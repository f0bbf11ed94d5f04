namespace Blkring.Engine.Reactors;

/// <summary>
/// Passes that other threads request: a disk's own thread, whose completions do not come through the reactor's
/// io_uring. Without a lock on the reactor's side: the first wait for a lock allocates.
/// </summary>
internal sealed class PassRequests(int capacity, Waiter waiter)
{
    // 1 for each queue whose pass is requested.
    private readonly int[] _requested = new int[capacity];
    private volatile bool _any;

    // Between the threads that request and the one that closes; the reactor's thread does not take it.
    private readonly Lock _lock = new();
    private bool _closed;

    public bool Any => _any;

    /// <summary>Requests a pass of the queue. From any thread, also after <see cref="Close"/>.</summary>
    public void Request(int index)
    {
        lock (_lock)
        {
            if (_closed)
                return;
            // Publish the queue's flag, then _any, then wake. MarkInto reads them in the reverse order, so a request
            // that it misses sets _any again after it was cleared. A flag that is still up was not read yet: whoever
            // raised it has woken the thread.
            if (Interlocked.Exchange(ref _requested[index], 1) != 0)
                return;
            _any = true;
            waiter.Wake();
        }
    }

    /// <summary>Marks the queues whose passes are requested. On the reactor's thread.</summary>
    /// <param name="queueCount">Only queues below this index are looked at.</param>
    public void MarkInto(ReadyQueues ready, int queueCount)
    {
        Interlocked.Exchange(ref _any, false);
        for (int index = 0; index < queueCount; index++)
            if (Interlocked.Exchange(ref _requested[index], 0) != 0)
                ready.Mark(index);
    }

    /// <summary>
    /// Ignores requests from now on. The disk of a queue that could not be stopped may outlive the reactor and its
    /// waiter.
    /// </summary>
    public void Close()
    {
        lock (_lock)
            _closed = true;
    }
}
