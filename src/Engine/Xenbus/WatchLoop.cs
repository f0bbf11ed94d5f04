using System.Diagnostics;
using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The one thread that watches xenstore. It takes every event at once, so that none is queued up in the library, hands
/// it on, and waits for nothing else; a connection that is lost it makes anew.
/// </summary>
/// <param name="watch">The path that is watched as long as there is a connection, and its token.</param>
/// <param name="onConnected">A new connection, the first one too; the watch is set.</param>
/// <param name="onLost">The connection is gone, or could not be made again; with why.</param>
/// <param name="onEvent">Path and token of an event.</param>
internal sealed class WatchLoop(
    Func<IXenstore> connect,
    (string Path, string Token) watch,
    Action<IXenstore> onConnected,
    Action<string> onLost,
    Action<string, string> onEvent
) : IDisposable
{
    private const int TurnMs = 1000;
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(50),
        s_lastRetry = TimeSpan.FromSeconds(2);

    private readonly ManualResetEventSlim _stopping = new();
    private readonly EventFd _wake = new();
    private Thread? _thread;
    private long _lastTurn = Stopwatch.GetTimestamp();

    /// <summary>Since the thread last came round; it does so at least every second.</summary>
    public TimeSpan SinceLastTurn => Stopwatch.GetElapsedTime(Volatile.Read(ref _lastTurn));

    /// <exception cref="XenstoreException">There is no store to begin with.</exception>
    public void Start()
    {
        IXenstore store = Connect();
        onConnected(store);
        _thread = new Thread(() => Run(store)) { Name = "xenstore", IsBackground = true };
        _thread.Start();
    }

    public void Dispose()
    {
        _stopping.Set();
        _wake.Signal();
        _thread?.Join();
        _wake.Dispose();
        _stopping.Dispose();
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

    private void Run(IXenstore? store)
    {
        while (!_stopping.IsSet)
        {
            string why = Serve(store!);
            store!.Dispose();
            if (_stopping.IsSet)
                return;
            onLost(why);
            store = Reconnect();
            if (store is null)
                return;
            onConnected(store);
        }
    }

    /// <returns>Why it ended.</returns>
    private string Serve(IXenstore store)
    {
        try
        {
            while (!_stopping.IsSet)
            {
                Volatile.Write(ref _lastTurn, Stopwatch.GetTimestamp());
                if (!Wait(store.Descriptor))
                    return "the connection is closed";
                while (store.CheckWatch(out string path, out string token))
                {
                    onEvent(path, token);
                    Volatile.Write(ref _lastTurn, Stopwatch.GetTimestamp());
                }
            }
            return "";
        }
        catch (XenstoreException e)
        {
            return e.Message;
        }
    }

    /// <returns>False when the connection is lost.</returns>
    private unsafe bool Wait(int descriptor)
    {
        pollfd* entries = stackalloc pollfd[2];
        entries[0] = new pollfd { fd = descriptor, events = Libc.POLLIN };
        entries[1] = new pollfd { fd = _wake.Value, events = Libc.POLLIN };
        Libc.Poll(entries, 2, TurnMs);
        // Events that wait are taken first; the hang-up shows again when there are none left.
        return (entries[0].revents & Libc.POLLIN) != 0
            || (entries[0].revents & (Libc.POLLHUP | Libc.POLLERR | Libc.POLLNVAL)) == 0;
    }

    private IXenstore? Reconnect()
    {
        for (
            TimeSpan delay = s_firstRetry;
            !_stopping.Wait(delay);
            delay = delay * 2 < s_lastRetry ? delay * 2 : s_lastRetry
        )
        {
            Volatile.Write(ref _lastTurn, Stopwatch.GetTimestamp());
            try
            {
                return Connect();
            }
            catch (XenstoreException e)
            {
                onLost(e.Message);
            }
        }
        return null;
    }
}
