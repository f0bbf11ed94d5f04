using System.Runtime.CompilerServices;

namespace Blkring.Engine.Reactors;

/// <summary>
/// The heartbeats of all reactors. <see cref="Look"/> is called every second, by one thread at a time.
/// </summary>
public sealed class ReactorHealth(IReactors reactors, TimeProvider time, TimeSpan limit)
{
    private readonly ConditionalWeakTable<Reactor, Heartbeat> _hearts = [];
    private volatile string? _spinning,
        _stuck;

    /// <summary>The name of a reactor whose round never ends; null if there is none.</summary>
    public string? Spinning => _spinning;

    /// <summary>The name of a reactor that is stuck in a system call; null if there is none.</summary>
    public string? Stuck => _stuck;

    public void Look()
    {
        string? spinning = null,
            stuck = null;
        foreach (Reactor reactor in reactors.Reactors)
        {
            Heartbeat heart = _hearts.GetValue(reactor, _ => new Heartbeat(time, limit));
            heart.Look(reactor.Round, reactor.IsAsleep, () => reactor.Activity);
            if (heart.IsSpinning)
                spinning = reactor.Name;
            else if (heart.StuckFor > TimeSpan.Zero)
                stuck = reactor.Name;
        }
        (_spinning, _stuck) = (spinning, stuck);
    }
}
