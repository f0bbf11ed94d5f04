namespace Blkring.Engine;

/// <summary>What a frontend says of itself when it is ready (its xenstore area).</summary>
public sealed record VbdConnection
{
    /// <summary>The key <c>protocol</c>; null when it is absent (B22).</summary>
    public string? Protocol { get; init; }
    /// <summary>ring-ref, or ring-ref0 and so on in order.</summary>
    public required IReadOnlyList<GrantReference> RingReferences { get; init; }
    /// <summary>event-channel</summary>
    public required EventChannelPort EventChannel { get; init; }
}

public sealed class VbdOptions
{
    /// <summary>The toolstack's <c>mode</c> is r, or the caller wants no writes.</summary>
    public bool ReadOnly { get; init; }
    /// <summary>See <see cref="VbdQueueOptions.MaxInFlight"/>.</summary>
    public int? MaxInFlight { get; init; }
}

/// <summary>
/// A virtual block device: one disk served to one frontend. The control plane's handle on the data plane; the two meet in
/// <see cref="Connect"/> and <see cref="Stop"/>.
/// </summary>
/// <remarks>One ring today. A further queue of a multi-queue frontend is one more <see cref="VbdQueue"/> here.</remarks>
public sealed unsafe class Vbd(Disk disk, Reactor reactor, VbdOptions? options = null) : IDisposable
{
    private readonly VbdOptions _options = options ?? new VbdOptions();
    private readonly Lock _lock = new();
    private RingAccess? _access;
    private VbdQueue? _queue;

    public Disk Disk => disk;

    /// <summary>The queue being served, null while disconnected. Statistics and faults are read from here.</summary>
    public VbdQueue? Queue => _queue;

    public bool IsConnected => _queue is not null;

    /// <summary>
    /// The capacity changed: the data path already serves the new length, now tell the frontend: write <c>sectors</c>, then the same
    /// <c>state</c> again (B23).
    /// </summary>
    public event Action<long>? CapacityChanged;

    /// <summary>Connects to a frontend (B17). A step that fails undoes those before it.</summary>
    /// <param name="access">Owned by the device from here on, whether it connects or not.</param>
    /// <exception cref="VbdConnectException">One line that says what the frontend offered and why it cannot be.</exception>
    public void Connect(VbdConnection connection, RingAccess access)
    {
        lock (_lock)
        {
            if (_queue is not null)
            {
                access.Dispose();
                throw new InvalidOperationException("the device is connected: stop it first");
            }
            VbdQueue? queue = null;
            try
            {
                BlkifProtocol protocol = ParseProtocol(connection.Protocol);
                int pages = connection.RingReferences.Count;
                CheckRingPages(pages);
                access.SetGrantLimit(pages);
                byte* ring = access.MapRing([.. connection.RingReferences]);
                access.BindEventChannel(connection.EventChannel);
                queue = access.CreateQueue(ring, protocol, QueueOptions(access.Frontend, pages), disk);
                reactor.Add(queue);
            }
            catch
            {
                queue?.Dispose();
                access.Dispose();
                throw;
            }
            (_access, _queue) = (access, queue);
        }
    }

    /// <summary>Drains the device without tearing it down (B18).</summary>
    /// <returns>False when requests were still under way after <paramref name="timeout"/>.</returns>
    public bool Pause(TimeSpan timeout)
    {
        lock (_lock) return _queue is null || reactor.Drain(_queue, timeout);
    }

    /// <summary>Serves a paused device again.</summary>
    public void Resume()
    {
        lock (_lock)
        {
            if (_queue is not null) reactor.Resume(_queue);
        }
    }

    /// <summary>Requests up to the new length are served, then <see cref="CapacityChanged"/> is raised (B23).</summary>
    public void Resize(long capacitySectors)
    {
        disk.Resize(capacitySectors);
        CapacityChanged?.Invoke(capacitySectors);
    }

    /// <summary>
    /// Ends service (B19): what is under way is waited for, then the event channel, the ring and the memory go. Harmless when half
    /// started or stopped already.
    /// </summary>
    /// <returns>
    /// False when the disk still holds requests after <paramref name="timeout"/>. Their memory stays, for the kernel may yet write to
    /// it; no other device is affected; call again to go on waiting.
    /// </returns>
    public bool Stop(TimeSpan timeout)
    {
        lock (_lock)
        {
            if (_queue is not null && !reactor.Remove(_queue, timeout)) return false;
            _access?.Dispose();
            _queue?.Dispose();
            (_access, _queue) = (null, null);
            return true;
        }
    }

    /// <summary>As <see cref="Stop"/>, waiting as long as it takes.</summary>
    public void Dispose() => Stop(Timeout.InfiniteTimeSpan);

    private VbdQueueOptions QueueOptions(DomainId frontend, int pages) => new()
    {
        RingPages = pages,
        Frontend = frontend,
        ReadOnly = _options.ReadOnly,
        MaxInFlight = _options.MaxInFlight,
    };

    private static BlkifProtocol ParseProtocol(string? key)
    {
        if (BlkifProtocols.TryParse(key, out BlkifProtocol protocol)) return protocol;
        // The guest chose the text: it goes into a log and into xenstore, so it is cut and cleaned.
        string shown = new([.. key!.Take(32).Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '?')]);
        throw new VbdConnectException($"the frontend's protocol '{shown}' is unknown: x86_32-abi, x86_64-abi and {BlkifProtocols.NativeName} are served");
    }

    private static void CheckRingPages(int pages)
    {
        if (pages is not (1 or 2 or 4 or 8 or 16))
            throw new VbdConnectException($"the frontend offers a ring of {pages} pages: 1, 2, 4, 8 or 16 are served");
    }
}
