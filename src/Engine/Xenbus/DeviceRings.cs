using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>The rings of a device's frontend while they are served.</summary>
internal sealed class DeviceRings(DeviceContext context, DeviceId id, DeviceHealth health)
{
    /// <summary>
    /// The time for the last requests of a frontend that closed. If requests are unanswered after it, the disk hangs,
    /// which the stop reports, or the guest never stops posting.
    /// </summary>
    private static readonly TimeSpan s_lastRequestsTimeout = TimeSpan.FromSeconds(5);

    private readonly Lock _faultReader = new();
    private Vbd? _vbd;
    private VbdConnection? _connection;
    private bool _isPaused,
        _isStopping,
        _forgoesJournals;
    private SuspectDecision _suspect;

    /// <summary>A guest uses the device.</summary>
    public bool AreServed => _vbd is not null;

    public bool IsConnected => _vbd is { IsConnected: true };
    public bool IsPaused => _isPaused;

    /// <summary>The rings are stopping, and the disk still holds requests.</summary>
    public bool IsStopping => _isStopping;
    public int MaxMappedPages => _vbd?.MaxMappedPages ?? 0;
    public IReadOnlyList<VbdQueue> Queues => _vbd?.Queues ?? [];

    /// <summary>What the frontend offered; null when nothing is served.</summary>
    public VbdConnection? Connection => _connection;

    /// <summary>How long the oldest request without an answer has been under way.</summary>
    public TimeSpan OldestRequest => _vbd?.OldestRequest ?? TimeSpan.Zero;

    /// <summary>Has the age of the requests measured. Never waits.</summary>
    public void Look() => _vbd?.Look();

    /// <summary>A frontend's producer index was impossible.</summary>
    public bool IsBroken => _vbd is { } vbd && vbd.Queues.Any(queue => queue.IsBroken);

    /// <exception cref="Hypervisor.VbdConnectException">What the frontend offered cannot be served.</exception>
    public void Start(Disk disk, DeviceOptions options, Throttle throttle, VbdConnection connection)
    {
        Vbd vbd = new(
            disk,
            context.Reactors,
            new VbdOptions
            {
                ReadOnly = disk.ReadOnly,
                MaxInFlight = options.MaxInFlight,
                MaxIndirectSegments = options.MaxIndirectSegments,
                Throttle = throttle,
                NativeSectors = options.NativeSectors,
                GrantMode = options.GrantMode!.Value,
                KeepsLostRequests = options.LostDisk == LostDiskPolicy.Wait,
                JournalPath = context.Journals.PathOf(id),
                MappingBudget = context.Mappings,
            },
            context.Runtime.Time,
            context.Runtime.Sleep
        );
        vbd.Connect(
            connection with
            {
                ForgoesJournals = _forgoesJournals,
                AfterCrash = context.Journals.AfterCrash,
                Suspect = _suspect,
            },
            context.Hypervisor
        );
        (_vbd, _connection, _forgoesJournals, _suspect) = (vbd, connection, false, SuspectDecision.None);
    }

    /// <summary>The next start does without the journals (<see cref="VbdConnection.ForgoesJournals"/>).</summary>
    public void ForgoJournals() => _forgoesJournals = true;

    /// <summary>The next start does this with a request that crashed the daemon too often.</summary>
    public void Decide(SuspectDecision decision) => _suspect = decision;

    /// <summary>The exception that ended a queue; null while all are well.</summary>
    public QueueCrash? Crash => _vbd?.Queues.FirstOrDefault(queue => queue.Crash is not null)?.Crash;

    /// <summary>
    /// Ends service: waits for the requests in flight, then unmaps the rings. Their journals are deleted, because all
    /// requests are answered.
    /// </summary>
    /// <returns>False when the disk still holds requests.</returns>
    public bool Stop(Disk? disk)
    {
        if (_vbd is not { } vbd)
            return true;
        bool stopped = health.Blocking(
            "ending the requests under way",
            () =>
            {
                // Nobody will replay what a lost disk refuses.
                vbd.FailLost();
                return vbd.Stop(context.Options.DrainTimeout);
            }
        );
        if (!stopped)
        {
            if (!_isStopping)
                context.Log.DiskHangs(id, disk?.Describe() ?? "no disk");
            _isStopping = true;
            return false;
        }
        LogFaults(vbd);
        context.Journals.Forget(id);
        (_vbd, _connection, _isPaused, _isStopping) = (null, null, false, false);
        return true;
    }

    /// <summary>Ends service, but keeps the journals: the next daemon takes over the rings.</summary>
    public bool Leave(TimeSpan timeout)
    {
        if (_vbd is { } vbd && !vbd.Stop(timeout))
            return false;
        _vbd = null;
        return true;
    }

    /// <summary>Why the disk is full or gone, a positive errno; 0 if it is not.</summary>
    public int LostErrno => _vbd?.LostErrno ?? 0;

    /// <summary>Fails the requests that a full or lost disk refused: nobody waits for it any more.</summary>
    public void FailLost() => _vbd?.FailLost();

    /// <summary>Lets the rings go, to take them over again with the requests in their journals.</summary>
    /// <returns>False when the disk still holds requests.</returns>
    public bool LetGo()
    {
        _isStopping = !health.Blocking("ending the requests under way", () => Leave(context.Options.DrainTimeout));
        if (_isStopping)
            return false;
        _connection = null;
        return true;
    }

    /// <summary>
    /// Answers the requests of a frontend that is Closed: Linux goes to Closed with requests on the ring, and then
    /// waits for them on the thread that handles all of its xenstore events.
    /// </summary>
    public void ServeToTheEnd()
    {
        if (_isStopping || _vbd is not { } vbd)
            return;
        TimeSpan drain = context.Options.DrainTimeout;
        TimeSpan timeout = s_lastRequestsTimeout < drain ? s_lastRequestsTimeout : drain;
        _ = health.Blocking("answering the last requests", () => vbd.ServeToTheEnd(timeout));
    }

    /// <summary>
    /// The frontend published new rings without closing, as it does when it resumes after a suspend.
    /// </summary>
    public bool DifferFrom(VbdConnection published) =>
        _connection is not { } served
        || published.Protocol != served.Protocol
        || published.Rings.Count != served.Rings.Count
        || published
            .Rings.Zip(served.Rings)
            .Any(pair =>
                pair.First.EventChannel != pair.Second.EventChannel
                || !pair.First.References.SequenceEqual(pair.Second.References)
            );

    /// <summary>Serves a new length, then calls <paramref name="announce"/>, in this order (B23).</summary>
    public void Resize(Disk disk, long sectors, Action<long> announce)
    {
        if (_vbd is { } vbd)
        {
            vbd.Resize(sectors, announce);
            return;
        }
        disk.Resize(sectors);
        announce(sectors);
    }

    /// <returns>False if requests were still in flight after the drain timeout; the rings are then served
    /// again.</returns>
    public bool TryPause()
    {
        Vbd vbd = _vbd!;
        if (!health.Blocking("ending the requests under way", () => vbd.Pause(context.Options.DrainTimeout)))
        {
            vbd.Resume();
            return false;
        }
        _isPaused = true;
        return true;
    }

    public void Resume()
    {
        if (!_isPaused)
            return;
        _vbd!.Resume();
        _isPaused = false;
    }

    /// <summary>
    /// Logs the faults that the data path noticed. Takes no lock of the device, so it works while a step waits for the
    /// disk.
    /// </summary>
    /// <returns>
    /// True if a ring is broken, its queue crashed or the disk is lost, so that the device's step must run.
    /// </returns>
    public bool LogFaults() => _vbd is { } vbd && LogFaults(vbd);

    private bool LogFaults(Vbd vbd)
    {
        bool broken = vbd.LostErrno != 0;
        lock (_faultReader)
        {
            foreach (VbdQueue queue in vbd.Queues)
            {
                broken |= queue.Crash is not null;
                while (queue.Faults.TryRead(out Fault fault))
                {
                    broken |= fault.Kind == FaultKind.BrokenRing;
                    if (health.MayLog())
                        context.Log.RequestFailed(id, fault.Kind, fault.Describe());
                }
            }
        }
        return broken;
    }
}
