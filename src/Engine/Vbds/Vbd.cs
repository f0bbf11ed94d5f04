using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Engine.Vbds;

/// <summary>
/// A virtual block device: one disk served to one frontend, over one ring or several. The control plane's handle on the
/// data plane; the two meet in <see cref="Connect"/> and <see cref="Stop"/>.
/// </summary>
public sealed class Vbd(Disk disk, IReactors reactors, VbdOptions? options = null) : IDisposable
{
    private readonly VbdOptions _options = options ?? new VbdOptions();
    private readonly Lock _lock = new();
    private ServedRing[] _rings = [];

    public Disk Disk => disk;

    /// <summary>
    /// The queues being served, in the frontend's order; none while disconnected. Statistics and faults are read from
    /// here.
    /// </summary>
    public IReadOnlyList<VbdQueue> Queues => [.. Volatile.Read(ref _rings).Select(ring => ring.Queue)];

    /// <summary>The first queue, null while disconnected.</summary>
    public VbdQueue? Queue => Volatile.Read(ref _rings) is [var first, ..] ? first.Queue : null;

    public bool IsConnected => Volatile.Read(ref _rings).Length > 0;

    /// <summary>
    /// Connects to a frontend (B17). A step that fails undoes those before it, those of other rings too.
    /// </summary>
    /// <exception cref="VbdConnectException">
    /// One line that says what the frontend offered and why it cannot be.
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
                // All are mapped and bound before any is served: a bad one at the end leaves no request half done.
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
            if (!connection.Resume)
                return;
            // The backend before may have pushed a response and not come to notify it.
            foreach (ServedRing ring in rings)
                ring.Queue.NotifyFrontend();
        }
    }

    /// <summary>Drains the device without tearing it down (B18).</summary>
    /// <returns>False when requests were still under way after <paramref name="timeout"/>.</returns>
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
    /// Answers all that the frontend has posted, and what it posts when it has its responses, until its rings stay
    /// empty; a paused device goes on for it. For a frontend that has closed: Linux takes no request back, so one that
    /// is left on the ring keeps it waiting for ever.
    /// </summary>
    /// <returns>False when that was not so within <paramref name="timeout"/>.</returns>
    public bool ServeToTheEnd(TimeSpan timeout)
    {
        lock (_lock)
        {
            foreach (ServedRing ring in _rings)
                ring.Resume();
            long start = Environment.TickCount64,
                quietSince = start;
            long? passes = null;
            while (true)
            {
                long now = Environment.TickCount64;
                long? before = passes;
                passes = PassesWhenIdle();
                if (passes is null || passes != before)
                    quietSince = now;
                else if (now - quietSince >= QuietMs)
                    return true;
                if (timeout != Timeout.InfiniteTimeSpan && now - start > timeout.TotalMilliseconds)
                    return false;
                Thread.Sleep(QuietMs / 4);
            }
        }
    }

    /// <summary>
    /// A frontend posts what it held back from its interrupt handler: longer than that takes on a busy host.
    /// </summary>
    private const int QuietMs = 20;

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
    /// Ends service (B19): what is under way is waited for, then the event channels, the rings and the memory go.
    /// Harmless when half started or stopped already.
    /// </summary>
    /// <returns>
    /// False when the disk still holds requests after <paramref name="timeout"/>. Their memory stays, for the kernel
    /// may yet write to it; no other device is affected; call again to go on waiting.
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

    /// <summary>
    /// The frontend is done with its rings: what was kept for a daemon to come is of no use any more.
    /// </summary>
    public static void DeleteJournals(string journalPath, int queues)
    {
        for (int number = 0; number < queues; number++)
            RingJournal.Delete(JournalPathOf(journalPath, number));
    }

    /// <summary>As <see cref="Stop"/>, waiting as long as it takes.</summary>
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
        new()
        {
            RingPages = pages,
            Frontend = connection.Frontend,
            TakesOver = connection.Resume,
            ReadOnly = _options.ReadOnly,
            MaxInFlight = _options.MaxInFlight,
            Throttle = _options.Throttle,
            MaxIndirectSegments = _options.MaxIndirectSegments,
            IndirectMemoryBytes = _options.IndirectMemoryBytes,
            GrantMode = GrantModes.ForFrontend(_options.GrantMode, connection.PersistentGrants),
            MaxPersistentGrants = _options.MaxPersistentGrants,
            NativeSectors = _options.NativeSectors,
            Barriers = connection.Rings.Count == 1,
            PersistentIdle = _options.PersistentIdle,
        };

    /// <summary>
    /// One time for all rings: each is told before any is waited for, so that a sick one takes no time from the others.
    /// </summary>
    private bool WithinTimeout(TimeSpan timeout, Func<ServedRing, TimeSpan, bool> end)
    {
        foreach (ServedRing ring in _rings)
            end(ring, TimeSpan.Zero);
        long start = Environment.TickCount64;
        bool all = true;
        foreach (ServedRing ring in _rings)
        {
            TimeSpan left =
                timeout == Timeout.InfiniteTimeSpan
                    ? timeout
                    : timeout - TimeSpan.FromMilliseconds(Environment.TickCount64 - start);
            all &= end(ring, left < TimeSpan.Zero && timeout != Timeout.InfiniteTimeSpan ? TimeSpan.Zero : left);
        }
        return all;
    }

    private static BlkifProtocol ParseProtocol(string? key)
    {
        if (BlkifProtocols.TryParse(key, out BlkifProtocol protocol))
            return protocol;
        // The guest chose the text: it goes into a log and into xenstore, so it is cut and cleaned.
        string shown = new([.. key!.Take(32).Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '?')]);
        throw new VbdConnectException(
            $"the frontend's protocol '{shown}' is unknown: {BlkifProtocols.ServedNames} are served",
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
