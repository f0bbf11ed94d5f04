using Blkring.Engine.Settings;
using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>How many I/O threads there are, and how each works.</summary>
public sealed record ReactorPoolOptions
{
    /// <summary>The number of threads that all queues share.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>Whether each queue gets a thread of its own; <see cref="Threads"/> is then ignored.</summary>
    public bool ThreadPerQueue { get; init; }

    /// <summary>The CPUs to which threads are pinned in turn; empty leaves them to the scheduler.</summary>
    public IReadOnlyList<int> Cpus { get; init; } = [];

    /// <summary>Called with each reactor after it has started and before it carries a queue.</summary>
    public Action<Reactor>? Started { get; init; }

    /// <summary>The template for each reactor: a number is appended to its name.</summary>
    public ReactorOptions Reactor { get; init; } = new();

    /// <summary>The options that follow from the settings.</summary>
    public static ReactorPoolOptions Of(SettingValues values)
    {
        IReadOnlyList<int> cpus = values.Get(ReactorSettings.Cpus);
        int usable = cpus.Count > 0 ? cpus.Count : CpuAffinity.Allowed().Length;
        return new ReactorPoolOptions
        {
            Threads = values.Get(ReactorSettings.IoThreads) ?? Math.Min(usable, ReactorSettings.DefaultMaxIoThreads),
            ThreadPerQueue = values.Get(ReactorSettings.ThreadsPerQueue),
            Cpus = cpus,
            Reactor = new ReactorOptions
            {
                PollWindow = TimeSpan.FromMicroseconds(values.Get(ReactorSettings.PollWindowMicroseconds)),
            },
        };
    }
}

/// <summary>
/// Spreads queues over threads (B20): each queue goes to the thread that carries the fewest, so the queues of one
/// device end up on different threads; or each queue gets a thread of its own. Threads start when they are first
/// needed.
/// </summary>
public sealed class ReactorPool(ReactorPoolOptions? options = null) : IReactors, IDisposable
{
    private readonly ReactorPoolOptions _options = options ?? new ReactorPoolOptions();
    private readonly Lock _lock = new();
    private readonly List<Member> _members = [];
    private uint _started;
    private bool _disposed;

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
            // Shared threads stay for the next device.
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
        uint number = _started++;
        ReactorOptions template = _options.Reactor;
        Member member = new(
            new Reactor(
                template with
                {
                    Name = $"{template.Name}{number}",
                    Cpu =
                        _options.Cpus.Count > 0
                            ? _options.Cpus[(int)(number % (uint)_options.Cpus.Count)]
                            : template.Cpu,
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
