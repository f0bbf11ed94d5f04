namespace Blkring.Engine.Xenbus;

/// <summary>The delays between tries of the same thing: each is twice the one before, up to a limit.</summary>
internal struct Backoff
{
    private readonly TimeSpan _first,
        _longest;
    private TimeSpan _next;

    public Backoff(TimeSpan first, TimeSpan longest) => (_first, _longest, _next) = (first, longest, first);

    public TimeSpan Next()
    {
        TimeSpan delay = _next;
        _next = delay * 2 < _longest ? delay * 2 : _longest;
        return delay;
    }

    public void Reset() => _next = _first;
}
