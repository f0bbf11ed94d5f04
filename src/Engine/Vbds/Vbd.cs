using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Engine.Vbds;

/// <summary>
/// A virtual block device: one disk served to one frontend, over one or several rings. It is the control plane's handle
/// on the data plane; the two meet in <see cref="Connect"/> and <see cref="Stop"/>.
/// </summary>
/// <param name="time">The clock of timeouts; null: the system's.</param>
/// <param name="sleep">Waits between two checks of <see cref="ServeToTheEnd"/>; null: Thread.Sleep.</param>
public sealed class Vbd(
    Disk disk,
    IReactors reactors,
    VbdOptions? options = null,
    TimeProvider? time = null,
    Action<TimeSpan>? sleep = null
) : IDisposable
{
    /// <summary>
    /// How long rings must stay empty before a frontend counts as finished. Its interrupt handler posts requests that
    /// it held back; even on a busy host that takes less time.
    /// </summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(20);

    private readonly VbdOptions _options = options ?? new VbdOptions();
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly Action<TimeSpan> _sleep = sleep ?? Thread.Sleep;
    private readonly Lock _lock = new();
    private ServedRing[] _rings = [];

    public Disk Disk => disk;

    /// <summary>
    /// The queues being served, in the frontend's order; none while disconnected. They have the statistics and faults.
    /// </summary>
    public IReadOnlyList<VbdQueue> Queues => [.. Volatile.Read(ref _rings).Select(ring => ring.Queue)];

    /// <summary>The first queue, null while disconnected.</summary>
    public VbdQueue? Queue => Volatile.Read(ref _rings) is [var first, ..] ? first.Queue : null;

    /// <summary>The guest's pages that its queues may have mapped at a time, apart from the rings.</summary>
    public int MaxMappedPages => Volatile.Read(ref _rings).Sum(ring => ring.MaxMappedPages);

    public bool IsConnected => Volatile.Read(ref _rings).Length > 0;

    /// <summary>
    /// Connects to a frontend (B17). If a step fails, all steps before it are undone, including those of other rings.
    /// </summary>
    /// <exception cref="VbdConnectException">
    /// One line that says what the frontend offered and why it cannot be served.
    /// </exception>
    public void Connect(VbdConnection connection, IHypervisor hypervisor)
    {
        lock (_lock)
        {
            if (IsConnected)
                throw new InvalidOperationException("the device is connected: stop it first");
            BlkifProtocol protocol = ParseProtocol(connection.Protocol);
            if (connection.Rings.Count == 0)
                throw new VbdConnectException("the frontend offers no ring", ErrorCode.RingMissing);
            List<ServedRing> rings = [];
            try
            {
                // All rings are mapped and bound before any is served, so that a bad last ring leaves no request half
                // done.
                for (int number = 0; number < connection.Rings.Count; number++)
                    rings.Add(Open(connection, number, protocol, hypervisor));
                foreach (ServedRing ring in rings)
                    ring.Serve(reactors);
            }
            catch
            {
                foreach (ServedRing ring in rings)
                    ring.Stop(Timeout.InfiniteTimeSpan);
                throw;
            }
            Volatile.Write(ref _rings, [.. rings]);
            if (!connection.Takeover)
                return;
            // An earlier daemon may have been killed between pushing a response and notifying the frontend.
            foreach (ServedRing ring in rings)
                ring.Queue.NotifyFrontend();
        }
    }

    /// <summary>
    /// Why the disk is lost and requests are kept for another daemon or queue, a positive errno; 0 if it is not.
    /// </summary>
    public int LostErrno => Queues.Select(queue => queue.LostErrno).FirstOrDefault(errno => errno != 0);

    /// <summary>Fails the requests that a lost disk refused, and those that it refuses from now on.</summary>
    public void FailLost()
    {
        lock (_lock)
        {
            foreach (ServedRing ring in _rings)
                ring.FailLost();
        }
    }

    /// <summary>How long the oldest request without an answer has been under way, as of the last look.</summary>
    public TimeSpan OldestRequest =>
        Volatile.Read(ref _rings) is { Length: > 0 } rings ? rings.Max(ring => ring.OldestRequest) : TimeSpan.Zero;

    /// <summary>Asks how old the requests are; <see cref="OldestRequest"/> has the answer soon. Never waits.</summary>
    public void Look()
    {
        foreach (ServedRing ring in Volatile.Read(ref _rings))
            ring.Look(_time);
    }

    /// <summary>Drains the device without tearing it down (B18).</summary>
    /// <returns>False if requests were still in flight after <paramref name="timeout"/>.</returns>
    public bool Pause(TimeSpan timeout)
    {
        lock (_lock)
            return WithinTimeout(timeout, static (ring, left) => ring.Drain(left));
    }

    /// <summary>Serves a paused device again.</summary>
    public void Resume()
    {
        lock (_lock)
        {
            foreach (ServedRing ring in _rings)
                ring.Resume();
        }
    }

    /// <summary>Serves the new length, and only then tells the frontend, which may use it at once (B23).</summary>
    /// <param name="announce">Writes <c>sectors</c>, then the same <c>state</c> again. Called with the length.</param>
    public void Resize(long capacitySectors, Action<long> announce)
    {
        disk.Resize(capacitySectors);
        announce(capacitySectors);
    }

    /// <summary>
    /// Answers the requests on the rings, and those that follow, until the rings stay empty. Resumes a paused device.
    /// This is for a frontend that has closed: Linux does not take requests back, so a request that is left on the ring
    /// would make it wait for ever.
    /// </summary>
    /// <returns>False if the rings were not empty within <paramref name="timeout"/>.</returns>
    public bool ServeToTheEnd(TimeSpan timeout)
    {
        lock (_lock)
        {
            foreach (ServedRing ring in _rings)
                ring.Resume();
            long start = _time.GetTimestamp(),
                quietSince = start;
            long? passes = null;
            while (true)
            {
                long now = _time.GetTimestamp();
                long? before = passes;
                passes = PassesWhenIdle();
                if (passes is null || passes != before)
                    quietSince = now;
                else if (_time.GetElapsedTime(quietSince, now) >= s_quiet)
                    return true;
                if (timeout != Timeout.InfiniteTimeSpan && _time.GetElapsedTime(start, now) > timeout)
                    return false;
                _sleep(s_quiet / 4);
            }
        }
    }

    /// <returns>The number of passes of all queues; null while a request is not answered yet.</returns>
    private long? PassesWhenIdle()
    {
        long passes = 0;
        foreach (ServedRing ring in _rings)
        {
            if (ring.PassesWhenIdle() is not { } more)
                return null;
            passes += more;
        }
        return passes;
    }

    /// <summary>
    /// Ends service (B19): waits for the requests in flight, then releases the event channels, the rings and the
    /// memory. Harmless on a device that is half connected or stopped.
    /// </summary>
    /// <returns>
    /// False when the disk still holds requests after <paramref name="timeout"/>. Their memory stays, because the
    /// kernel may still write to it. No other device is affected. Call again to wait longer.
    /// </returns>
    public bool Stop(TimeSpan timeout)
    {
        lock (_lock)
        {
            if (!WithinTimeout(timeout, static (ring, left) => ring.Stop(left)))
                return false;
            Volatile.Write(ref _rings, []);
            return true;
        }
    }

    /// <summary>Like <see cref="Stop"/>, without a timeout.</summary>
    public void Dispose() => Stop(Timeout.InfiniteTimeSpan);

    private ServedRing Open(VbdConnection connection, int number, BlkifProtocol protocol, IHypervisor hypervisor)
    {
        VbdRing ring = connection.Rings[number];
        int pages = ring.References.Count;
        CheckRingPages(pages);
        RingAccess access = hypervisor.OpenRing(connection.Frontend);
        RingIdentity identity = new(access.Frontend, protocol, pages, ring.References[0], ring.EventChannel);
        string? journal = _options.JournalPath is { } path ? JournalPathOf(path, number) : null;
        return new ServedRing(
            access,
            ring,
            identity,
            disk,
            QueueOptions(connection, pages),
            journal,
            _options.MappingBudget
        );
    }

    private static string JournalPathOf(string path, int number) =>
        string.Create(CultureInfo.InvariantCulture, $"{path}-{number}");

    private VbdQueueOptions QueueOptions(VbdConnection connection, int pages) =>
        new(_options)
        {
            RingPages = pages,
            Frontend = connection.Frontend,
            Takeover = connection.Takeover,
            ForgoesJournal = connection.ForgoesJournals,
            AfterCrash = connection.AfterCrash,
            Suspect = connection.Suspect,
            Clock = _time,
            GrantMode = GrantModes.ForFrontend(_options.GrantMode, connection.PersistentGrants),
            Barriers = connection.Rings.Count == 1,
        };

    /// <summary>
    /// Ends something on all rings within one timeout. All are told before the first is waited for, so that a slow ring
    /// takes no time from the others.
    /// </summary>
    private bool WithinTimeout(TimeSpan timeout, Func<ServedRing, TimeSpan, bool> end)
    {
        foreach (ServedRing ring in _rings)
            end(ring, TimeSpan.Zero);
        long start = _time.GetTimestamp();
        bool all = true;
        foreach (ServedRing ring in _rings)
        {
            TimeSpan left = timeout;
            if (timeout != Timeout.InfiniteTimeSpan)
                left = TimeSpan.FromTicks(Math.Max(0, (timeout - _time.GetElapsedTime(start)).Ticks));
            all &= end(ring, left);
        }
        return all;
    }

    private static BlkifProtocol ParseProtocol(string? key)
    {
        if (BlkifProtocols.TryParse(key, out BlkifProtocol protocol))
            return protocol;
        // The guest wrote this text, and it is written to the log and to xenstore, so it is cut and cleaned.
        string quoted = new([.. key!.Take(32).Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '?')]);
        throw new VbdConnectException(
            $"the frontend's protocol '{quoted}' is unknown: {BlkifProtocols.ServedNames} are served",
            ErrorCode.ProtocolUnknown
        );
    }

    private static void CheckRingPages(int pages)
    {
        if (pages is not (1 or 2 or 4 or 8 or 16))
            throw new VbdConnectException(
                $"the frontend offers a ring of {pages} pages: 1, 2, 4, 8 or 16 are served",
                ErrorCode.RingSizeUnsupported
            );
    }
}
