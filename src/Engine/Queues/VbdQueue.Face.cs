using Blkring.Engine.Disks;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// One blkif ring being served, as a reactor sees it: one call per pass. What runs for every request is in
/// <see cref="VbdQueue{TAbi, TGrants, TEvents, TDisk}"/>, compiled for its ABI, grants, event channel and disk.
/// </summary>
/// <remarks>All members but the statistics belong to the thread that runs the passes.</remarks>
public abstract unsafe class VbdQueue : IDisposable
{
    /// <summary>The slot number in tags of event-channel waits.</summary>
    internal const ushort EventSlot = ushort.MaxValue;

    /// <summary>
    /// A pass takes no further request once it has this many segments, 512 KiB of data, and copies no further one that
    /// the disk has finished. What is answered so far then goes out, and the frontend works on it while the next pass
    /// works on the rest. Queues that share the thread get their passes in between: a guest that floods a large ring
    /// cannot keep them waiting.
    /// </summary>
    internal const int MaxSegmentsPerPass = 128;

    /// <summary>
    /// The most disk operations of a queue that wait on a thread of the kernel's at a time: the reactor provides for as
    /// many.
    /// </summary>
    internal const int MaxWaiting = WaitingPlaces.Transfers + WaitingPlaces.Discards + 1;

    public QueueStatistics Statistics { get; } = new();
    public FaultLog Faults { get; } = new();

    /// <summary>Requests taken off the ring and not yet answered.</summary>
    public abstract int InFlight { get; }

    /// <summary>
    /// No request is with the disk or with the grants: those that are left are kept, or wait for what kept ones hold.
    /// </summary>
    public abstract bool IsQuiet { get; }

    /// <summary>
    /// Why requests are kept unanswered and none is taken (<see cref="ServingOptions.KeepsLostRequests"/>), a positive
    /// errno; 0 otherwise. From any thread.
    /// </summary>
    public abstract int LostErrno { get; }

    /// <summary>Fails what is kept, and everything that the disk refuses from now on; takes requests again.</summary>
    public abstract void FailLost();

    /// <summary>
    /// When the oldest request was taken that has no answer yet: a Stopwatch timestamp; 0 if there is none. Between
    /// passes, on the thread that runs them.
    /// </summary>
    public abstract long OldestTakenAt { get; }

    /// <summary>The frontend broke the ring: nothing is taken any more (B4).</summary>
    public abstract bool IsBroken { get; }

    /// <summary>
    /// Whether requests are taken. After a detach, what is under way still ends and is answered (B18).
    /// </summary>
    public abstract bool IsAttached { get; }

    /// <summary>An exception ended the queue's service; null while all is well. From any thread.</summary>
    public QueueCrash? Crash { get; private protected set; }

    public abstract void AttachRing();
    public abstract void DetachRing();

    /// <summary>
    /// One pass: finish what completed, take the requests, one grant copy, one push, at most one notification.
    /// </summary>
    /// <param name="frontendHasOwnCpu">
    /// The frontend has a CPU of its own: of many requests only a part is taken, so that it has responses to work on
    /// while the next pass works on the rest. On a shared CPU the two take turns anyway, and shorter passes only cost
    /// more.
    /// </param>
    public abstract PassResult RunPass(bool frontendHasOwnCpu = false);

    /// <summary>
    /// The ring holds requests that can be taken now: one look at the shared page, for a thread that does not sleep.
    /// </summary>
    public abstract bool HasRequests { get; }

    /// <summary>Requests are under way or on the ring, including those that cannot be taken now.</summary>
    public abstract bool HasUnanswered { get; }

    /// <summary>
    /// To be called after a pass that did not end with <see cref="PassResult.More"/>, before the thread does anything
    /// else: re-arms req_event, so that the frontend notifies the next request, also with others in flight. True when
    /// there is work after all.
    /// </summary>
    public abstract bool FinalCheckForRequests();

    /// <summary>
    /// Notifies the frontend even if it did not ask: after a takeover nobody knows what it was told. From any thread.
    /// </summary>
    public abstract void NotifyFrontend();

    /// <summary>
    /// Pages of the guest are mapped that no request uses: <see cref="ReleaseIdleGrants"/> is to be called from time to
    /// time.
    /// </summary>
    public virtual bool HoldsIdleGrants => false;

    /// <summary>
    /// Between passes: unmaps pages that no request has used for <see cref="ServingOptions.PersistentIdle"/>.
    /// </summary>
    /// <param name="now">A Stopwatch timestamp.</param>
    /// <param name="maxRanges">The most ranges of pages: each is a call of the hypervisor.</param>
    /// <returns>The number of ranges that were unmapped; as many as allowed if more may be left.</returns>
    public virtual int ReleaseIdleGrants(long now, int maxRanges = int.MaxValue) => 0;

    // The reactor's side of the disk and of the event channel.
    /// <param name="wake">See <see cref="DiskAttachment.Wake"/>.</param>
    internal abstract void AttachDisk(ushort queueIndex, IoUring? ring, Action? wake = null);
    internal abstract void DetachDisk();

    /// <summary>
    /// Takes the run of completions of this queue that starts at <paramref name="head"/>; returns where it ended.
    /// </summary>
    internal abstract uint TakeCompletions(IoUring ring, uint head, uint tail);

    /// <summary>Where to go on after an exception in <see cref="TakeCompletions"/>.</summary>
    internal uint CompletionsTaken { get; private protected set; }

    /// <summary>
    /// Ends the service after an exception in any of the queue's members: its journal stays as after a kill, and from
    /// here on the members do no more than wait for what is under way in the disk.
    /// </summary>
    internal virtual void EndByCrash(Exception bug) => Crash = new QueueCrash(null, bug);

    internal abstract int EventDescriptor { get; }
    internal abstract void PrepareEventWait(io_uring_sqe* sqe);
    internal abstract void ConsumeEvent();

    /// <summary>
    /// To be called after a final check that found nothing, before the thread may sleep: unmasks the event channel, if
    /// an event was taken since it was last unmasked.
    /// </summary>
    /// <remarks>
    /// No wake-up is lost. A request posted before the final check is seen by it. One posted after it finds req_event
    /// re-armed, so the frontend notifies: while the channel is masked the event is kept pending, and unmasking
    /// delivers it; afterwards it comes by itself. Until here an event could tell nothing that the next look at the
    /// ring does not. A queue that would take nothing stays masked: its next event waits until it is attached again or
    /// has a slot free, and a guest's notifications cost it nothing meanwhile. After events without requests it stays
    /// masked for a while as well: see <see cref="EventState"/>.
    /// </remarks>
    /// <returns>0; or the nanoseconds after which to call it again, because the channel is still masked.</returns>
    internal abstract long UnmaskEvents();

    /// <summary>The wait's completion came since the flag was last cleared.</summary>
    internal bool EventWaitCompleted { get; set; }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
