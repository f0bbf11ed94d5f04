using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Xen;

/// <summary>
/// One interdomain event channel, alone on its handle of libxenevtchn, so that the descriptor's readiness is its own.
/// </summary>
/// <remarks>
/// Waited for by poll, not by a read: the device knows no non-blocking read to io_uring, which would park a worker
/// thread in it for every queue. The handle is held by the <see cref="XenRingAccess"/> that made this, which outlives
/// the queue.
/// </remarks>
public readonly unsafe struct XenEventChannel : IEventChannel
{
    private readonly LibXenEvtchn.xenevtchn_handle* _handle;
    private readonly uint _port;
    private readonly int _descriptor;

    internal XenEventChannel(LibXenEvtchn.xenevtchn_handle* handle, uint port, int descriptor)
    {
        _handle = handle;
        _port = port;
        _descriptor = descriptor;
    }

    public int Descriptor => _descriptor;

    /// <summary>
    /// A frontend that is gone is not told: ENOTCONN is its own affair, and xenstore tells the control plane.
    /// </summary>
    public void Notify() => LibXenEvtchn.Notify(_handle, _port);

    public void PrepareWait(io_uring_sqe* sqe)
    {
        sqe->opcode = IoUringAbi.IORING_OP_POLL_ADD;
        sqe->fd = _descriptor;
        sqe->poll32_events = (uint)Libc.POLLIN;
    }

    /// <param name="result">
    /// Events of poll(2), or -errno of a wait that was cancelled: nothing is to be taken then.
    /// </param>
    public void CompleteWait(int result)
    {
        if (result > 0)
            Consume();
    }

    /// <summary>The descriptor is non-blocking: with nothing pending this returns at once.</summary>
    public void Consume() => LibXenEvtchn.Pending(_handle);

    public void Unmask() => LibXenEvtchn.Unmask(_handle, _port);
}
