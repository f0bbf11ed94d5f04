using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>One end of a loopback event channel: an eventfd to wait on and one to signal.</summary>
public readonly unsafe struct LoopbackEventChannel : IEventChannel
{
    private readonly int _incoming,
        _outgoing;

    // The kernel writes the counter that it reads there; the memory is unmanaged, and the owner of the channel holds
    // it.
    private readonly ulong* _counter;

    internal LoopbackEventChannel(int incoming, int outgoing, ulong* counter)
    {
        _incoming = incoming;
        _outgoing = outgoing;
        _counter = counter;
    }

    public int Descriptor => _incoming;

    public void Notify()
    {
        ulong one = 1;
        Libc.Write(_outgoing, (byte*)&one, sizeof(ulong));
    }

    /// <summary>Reading the counter waits for the event and takes it, in one operation.</summary>
    public void PrepareWait(io_uring_sqe* sqe)
    {
        sqe->opcode = IoUringAbi.IORING_OP_READ;
        sqe->fd = _incoming;
        sqe->addr = (ulong)_counter;
        sqe->len = sizeof(ulong);
    }

    public void CompleteWait(int result) { }

    public void Consume()
    {
        ulong counter;
        Libc.Read(_incoming, (byte*)&counter, sizeof(ulong));
    }

    /// <summary>Does nothing: an eventfd is never masked.</summary>
    public void Unmask() { }
}
