using Blkring.Interop;

namespace Blkring.Engine.Hypervisor;

/// <summary>One bound event channel as the data plane sees it. Implemented by structs.</summary>
public unsafe interface IEventChannel
{
    /// <summary>
    /// The descriptor that becomes readable when the frontend notified: for reactors that wait with poll(2).
    /// </summary>
    int Descriptor { get; }

    /// <summary>Notifies the frontend (EVTCHNOP_send).</summary>
    void Notify();

    /// <summary>
    /// Fills a submission whose completion means "the frontend notified". The reactor sets user_data.
    /// </summary>
    void PrepareWait(io_uring_sqe* sqe);

    /// <summary>
    /// Takes the event that a wait from <see cref="PrepareWait"/> reported; the next wait may then be prepared.
    /// </summary>
    void CompleteWait(int result);

    /// <summary>Takes a pending event, if there is one, without waiting: for reactors that wait with poll(2).</summary>
    void Consume();

    /// <summary>
    /// Lets further events come: one that was taken masks its channel (xenevtchn_unmask). After the work that the event
    /// was about, so that a frontend which notifies without end raises one event a turn and no more (XSA-332). One
    /// raised meanwhile is delivered now, not lost.
    /// </summary>
    void Unmask();
}

/// <summary>No channel at all: for driving a queue by hand, and for measuring the ring alone.</summary>
public readonly unsafe struct NullEventChannel : IEventChannel
{
    public int Descriptor => -1;

    public void Notify() { }

    public void PrepareWait(io_uring_sqe* sqe) { }

    public void CompleteWait(int result) { }

    public void Consume() { }

    public void Unmask() { }
}
