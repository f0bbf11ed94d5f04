namespace Blkring.Engine.Reactors;

public sealed class ReactorPoolOptions
{
    /// <summary>Threads that all queues share.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>A thread for each queue instead; <see cref="Threads"/> is then not looked at.</summary>
    public bool ThreadPerQueue { get; init; }

    /// <summary>Threads are pinned to these in turn; empty leaves them free.</summary>
    public IReadOnlyList<int> Cpus { get; init; } = [];

    /// <summary>Told of each thread when it was started, before it carries a queue.</summary>
    public Action<Reactor>? Started { get; init; }

    /// <summary>How each reactor is made; its name gets a number, its CPU comes from <see cref="Cpus"/>.</summary>
    public ReactorOptions Reactor { get; init; } = new();
}

/// <summary>
/// Spreads queues over threads (B20): each goes to the thread that carries the fewest, so that the queues of one device
/// come to lie on different threads; or each gets a thread of its own. Threads start when they are first needed.
/// </summary>
public sealed class ReactorPool(ReactorPoolOptions? options = null) : IReactors, IDisposable
{
    private readonly ReactorPoolOptions _options = options ?? new ReactorPoolOptions();
    private readonly Lock _lock = new();
    private readonly List<Member> _members = [];
    private int _started;
    private bool _disposed;

    /// <summary>The threads there are now.</summary>
    public IReadOnlyList<Reactor> Reactors
    {
        get
        {
            lock (_lock)
                return [.. _members.Select(member => member.Reactor)];
        }
    }

    public Reactor Take()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Member? member =
                _options.ThreadPerQueue || _members.Count < _options.Threads
                    ? _members.Find(idle => idle.Queues == 0) ?? Start()
                    : _members.MinBy(busy => busy.Queues)!;
            member.Queues++;
            return member.Reactor;
        }
    }

    public void Release(Reactor reactor)
    {
        lock (_lock)
        {
            Member? member = _members.Find(other => other.Reactor == reactor);
            if (member is null)
                return;
            member.Queues--;
            // Shared threads stay: the next device takes them.
            if (!_options.ThreadPerQueue || member.Queues > 0)
                return;
            _members.Remove(member);
        }
        reactor.Dispose();
    }

    public void Dispose()
    {
        List<Member> members;
        lock (_lock)
        {
            _disposed = true;
            members = [.. _members];
            _members.Clear();
        }
        foreach (Member member in members)
            member.Reactor.Dispose();
    }

    private Member Start()
    {
        int number = _started++;
        ReactorOptions template = _options.Reactor;
        Member member = new(
            new Reactor(
                new ReactorOptions
                {
                    Name = $"{template.Name}{number}",
                    Cpu = _options.Cpus.Count > 0 ? _options.Cpus[number % _options.Cpus.Count] : template.Cpu,
                    UseIoUring = template.UseIoUring,
                    Ring = template.Ring,
                    PollWindow = template.PollWindow,
                    IdleGrantsInterval = template.IdleGrantsInterval,
                    MaxQueues = _options.ThreadPerQueue ? 1 : template.MaxQueues,
                }
            )
        );
        _members.Add(member);
        _options.Started?.Invoke(member.Reactor);
        return member;
    }

    private sealed class Member(Reactor reactor)
    {
        public Reactor Reactor { get; } = reactor;
        public int Queues { get; set; }
    }
}
