using Blkring.Interop;

namespace Blkring.Engine.Hypervisor;

/// <summary>One bound event channel as the data plane sees it. Implemented by structs.</summary>
public unsafe interface IEventChannel
{
    /// <summary>
    /// Becomes readable when the frontend notifies: for reactors that wait with poll(2).
    /// </summary>
    int Descriptor { get; }

    /// <summary>Notifies the frontend (EVTCHNOP_send).</summary>
    void Notify();

    /// <summary>
    /// Fills a submission that completes when the frontend notifies. The reactor sets user_data.
    /// </summary>
    void PrepareWait(io_uring_sqe* sqe);

    /// <summary>
    /// Takes the event that a wait from <see cref="PrepareWait"/> reported. The next wait may then be prepared.
    /// </summary>
    void CompleteWait(int result);

    /// <summary>Takes a pending event, if there is one, without waiting: for reactors that wait with poll(2).</summary>
    void Consume();

    /// <summary>
    /// Unmasks the channel (xenevtchn_unmask); taking an event masks it. It is called after the work for the event is
    /// done, so that a frontend that notifies endlessly raises at most one event per pass (XSA-332). An event that was
    /// raised in the meantime is delivered now; it is not lost.
    /// </summary>
    void Unmask();
}

/// <summary>No event channel: for driving a queue by hand, and for measuring the ring alone.</summary>
public readonly unsafe struct NullEventChannel : IEventChannel
{
    public int Descriptor => -1;

    public void Notify() { }

    public void PrepareWait(io_uring_sqe* sqe) { }

    public void CompleteWait(int result) { }

    public void Consume() { }

    public void Unmask() { }
}
