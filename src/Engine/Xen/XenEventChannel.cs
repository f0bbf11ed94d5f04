using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Xen;

/// <summary>
/// One interdomain event channel. It is the only one on its handle of libxenevtchn, so the descriptor is readable only
/// for this channel.
/// </summary>
/// <remarks>
/// Waits are polls, not reads: the device has no non-blocking read for io_uring, so reads would block a worker thread
/// per queue. The <see cref="XenRingAccess"/> that made this struct owns the handle and outlives the queue.
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
    /// The result is ignored: ENOTCONN means that the frontend is gone, which the control plane learns from xenstore.
    /// </summary>
    public void Notify() => LibXenEvtchn.Notify(_handle, _port);

    public void PrepareWait(io_uring_sqe* sqe)
    {
        sqe->opcode = IoUringAbi.IORING_OP_POLL_ADD;
        sqe->fd = _descriptor;
        sqe->poll32_events = (uint)Libc.POLLIN;
    }

    /// <param name="result">
    /// Events of poll(2), or -errno of a cancelled wait, after which there is no event to take.
    /// </param>
    public void CompleteWait(int result)
    {
        if (result > 0)
            Consume();
    }

    /// <summary>Returns at once when nothing is pending, because the descriptor is non-blocking.</summary>
    public void Consume() => LibXenEvtchn.Pending(_handle);

    public void Unmask() => LibXenEvtchn.Unmask(_handle, _port);
}
