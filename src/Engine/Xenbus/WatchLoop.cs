using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Watches xenstore. Each turn takes every event, so that none is queued in the library, and passes it on without
/// waiting; a lost connection is opened again. In the daemon <see cref="WatchThread"/> calls it.
/// </summary>
/// <param name="watch">The path that is watched on every connection, and its token.</param>
/// <param name="onConnected">Called for each connection, the first included, when the watch is set.</param>
/// <param name="onLost">Called with the reason when the connection is lost or cannot be opened again.</param>
/// <param name="onEvent">Called with an event's path and token.</param>
internal sealed class WatchLoop(
    Func<IXenstore> connect,
    (string Path, string Token) watch,
    Action<IXenstore> onConnected,
    Action<string> onLost,
    Action<string, string> onEvent,
    TimeProvider time
) : IDisposable
{
    private static readonly TimeSpan s_turn = TimeSpan.FromSeconds(1),
        s_firstRetry = TimeSpan.FromMilliseconds(50),
        s_lastRetry = TimeSpan.FromSeconds(2);

    private IXenstore? _store;
    private TimeSpan _retryDelay;
    private long _retryFrom;
    private long _lastTurn = time.GetTimestamp();
    private volatile int _threadId;

    /// <summary>
    /// The time since the last turn, or since the turn's last event. A turn is due at least every second.
    /// </summary>
    public TimeSpan SinceLastTurn => time.GetElapsedTime(Volatile.Read(ref _lastTurn));

    /// <summary>Readable when an event waits; -1 while there is no connection.</summary>
    public int Descriptor => _store?.Descriptor ?? -1;

    /// <exception cref="XenstoreException">There is no store.</exception>
    public void Start()
    {
        _store = Connect();
        onConnected(_store);
    }

    /// <summary>Takes the waiting events or, without a connection, tries to open one when that is due.</summary>
    /// <param name="hungUp">The descriptor says that the connection is lost and that no event waits.</param>
    /// <returns>The time after which the next turn is due even if the descriptor is not readable.</returns>
    public TimeSpan Turn(bool hungUp)
    {
        NoteTurn();
        if (_store is null)
            return Reconnect();
        return (hungUp ? "the connection is closed" : TakeEvents(_store)) is { } reason ? Lose(reason) : s_turn;
    }

    /// <summary>Gives the connection up; a later turn opens another.</summary>
    /// <returns>The time after which the next turn is due.</returns>
    public TimeSpan Lose(string reason)
    {
        _store?.Dispose();
        _store = null;
        onLost(reason);
        return RetryAfter(s_firstRetry);
    }

    public void Dispose() => _store?.Dispose();

    /// <returns>Null, or why the connection is lost.</returns>
    private string? TakeEvents(IXenstore store)
    {
        try
        {
            while (store.CheckWatch(out string path, out string token))
            {
                onEvent(path, token);
                NoteTurn();
            }
            return null;
        }
        catch (XenstoreException e)
        {
            return e.Message;
        }
    }

    private TimeSpan Reconnect()
    {
        TimeSpan left = _retryDelay - time.GetElapsedTime(_retryFrom);
        if (left > TimeSpan.Zero)
            return left;
        try
        {
            _store = Connect();
        }
        catch (XenstoreException e)
        {
            onLost(e.Message);
            return RetryAfter(_retryDelay * 2 < s_lastRetry ? _retryDelay * 2 : s_lastRetry);
        }
        onConnected(_store);
        return TimeSpan.Zero;
    }

    private TimeSpan RetryAfter(TimeSpan delay)
    {
        (_retryDelay, _retryFrom) = (delay, time.GetTimestamp());
        return delay;
    }

    private IXenstore Connect()
    {
        IXenstore store = connect();
        try
        {
            store.Watch(watch.Path, watch.Token);
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The thread has not come round for too long, although no call holds it: a store that does not answer keeps new
    /// guests out, and a restart would cost those that are served.
    /// </summary>
    public bool IsSick(TimeSpan limit) =>
        SinceLastTurn >= limit && _threadId != 0 && ThreadStates.Read(_threadId) != ThreadActivity.InKernel;

    private void NoteTurn()
    {
        _threadId = Libc.Gettid();
        Volatile.Write(ref _lastTurn, time.GetTimestamp());
    }
}
