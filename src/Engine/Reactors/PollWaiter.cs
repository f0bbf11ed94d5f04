using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>
/// Waits with poll(2), for machines that refuse io_uring. Disk operations are then done at once, so there is nothing to
/// wait for but events.
/// </summary>
internal sealed unsafe class PollWaiter : Waiter
{
    private readonly string _reason;
    private readonly EventFd _wake = new();
    private readonly VbdQueue?[] _queues;
    private readonly Arena _arena;

    // Entry 0 is the wake descriptor; entry i + 1 belongs to queue i. poll(2) ignores negative descriptors.
    private readonly pollfd* _entries;
    private int _used = 1;

    public PollWaiter(string reason, int maxQueues)
    {
        _reason = reason;
        _queues = new VbdQueue?[maxQueues];
        _arena = new Arena((nuint)((maxQueues + 1) * sizeof(pollfd)));
        _entries = _arena.Take<pollfd>(maxQueues + 1);
        for (int i = 0; i <= maxQueues; i++)
            _entries[i] = new pollfd { fd = -1, events = Libc.POLLIN };
        _entries[0].fd = _wake.Value;
    }

    public override IoUring? Ring => null;

    public override string Describe() => $"pread/pwrite and poll, without io_uring: {_reason}";

    public override void Enter() { }

    public override void Add(int index, VbdQueue queue)
    {
        _queues[index] = queue;
        _entries[index + 1].fd = queue.EventDescriptor;
        _used = Math.Max(_used, index + 2);
    }

    public override bool TryRemove(int index, VbdQueue queue)
    {
        _queues[index] = null;
        _entries[index + 1].fd = -1;
        return true;
    }

    public override void Wait(ReadyQueues ready, bool block, long timeoutNs)
    {
        int readable = Libc.Ppoll(_entries, (nuint)_used, block ? timeoutNs : 0);
        if (readable <= 0)
            return;
        if (_entries[0].revents != 0)
            _wake.TryConsume();
        for (int i = 1; i < _used; i++)
        {
            if (_entries[i].fd < 0 || _entries[i].revents == 0)
                continue;
            _queues[i - 1]!.ConsumeEvent();
            ready.Mark(i - 1);
        }
    }

    public override void Wake() => _wake.Signal();

    public override void Dispose()
    {
        _wake.Dispose();
        _arena.Dispose();
    }
}
