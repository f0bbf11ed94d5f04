using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>The thread of a <see cref="WatchLoop"/>: waits for its descriptor or its time, then calls it.</summary>
internal sealed class WatchThread : IDisposable
{
    private static readonly TimeSpan s_end = TimeSpan.FromSeconds(5);

    private readonly WatchLoop _loop;
    private readonly EventFd _wake = new();
    private readonly Thread _thread;
    private volatile bool _stopping;

    public WatchThread(WatchLoop loop)
    {
        _loop = loop;
        _thread = new Thread(Run) { Name = "xenstore", IsBackground = true };
        _thread.Start();
    }

    public void Dispose()
    {
        _stopping = true;
        _wake.Signal();
        // A store that does not answer keeps the daemon from ending no longer than this.
        if (_thread.Join(s_end))
            _wake.Dispose();
    }

    private void Run()
    {
        bool hungUp = false;
        while (!_stopping)
        {
            TimeSpan wait = Turn(_loop, hungUp);
            hungUp = !_stopping && !Wait(_loop.Descriptor, wait);
        }
    }

    /// <summary>A bug must not end the process: the store is opened again, which looks at every device anew.</summary>
    internal static TimeSpan Turn(WatchLoop loop, bool hungUp)
    {
        try
        {
            return loop.Turn(hungUp);
        }
        catch (Exception bug)
        {
            return loop.Lose($"unexpected {bug.GetType().Name}: {bug.Message}");
        }
    }

    /// <param name="descriptor">-1, which poll(2) ignores, while there is no connection.</param>
    /// <returns>False when the connection is lost.</returns>
    private unsafe bool Wait(int descriptor, TimeSpan timeout)
    {
        pollfd* entries = stackalloc pollfd[2];
        entries[0] = new pollfd { fd = descriptor, events = Libc.POLLIN };
        entries[1] = new pollfd { fd = _wake.Value, events = Libc.POLLIN };
        Libc.Poll(entries, 2, (int)Math.Ceiling(timeout.TotalMilliseconds));
        // Waiting events are taken first; poll reports the hang-up again when none are left.
        return (entries[0].revents & Libc.POLLIN) != 0
            || (entries[0].revents & (Libc.POLLHUP | Libc.POLLERR | Libc.POLLNVAL)) == 0;
    }
}
