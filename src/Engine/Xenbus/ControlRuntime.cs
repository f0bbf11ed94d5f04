using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What the control plane gets from its process: clock, threads, files, address space. The defaults of the daemon are
/// named only here; a simulator passes its own and can run everything on one thread.
/// </summary>
public sealed record ControlRuntime
{
    public static ControlRuntime Production { get; } = new();

    /// <summary>The source of all clocks and timers.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Sleeps on a step's own thread; used only in <see cref="IStepPool.Blocking"/>.</summary>
    public Action<TimeSpan> Sleep { get; init; } = Thread.Sleep;

    /// <summary>
    /// The budget for guests' mapped pages, which all devices share. Called once, with the number of grants.
    /// </summary>
    public Func<int, MappingBudget> Mappings { get; init; } = grants => MappingBudget.Of(File.ReadAllText, grants);

    /// <summary>Runs the devices' steps.</summary>
    internal Func<TimeProvider, IStepPool> StartSteps { get; init; } = time => new StepPool("xenbus", time);

    /// <summary>
    /// Calls <see cref="WatchLoop.Turn"/> whenever there is something to do, until the result is disposed.
    /// </summary>
    internal Func<WatchLoop, IDisposable> StartWatching { get; init; } = loop => new WatchThread(loop);

    internal IControlFiles Files { get; init; } = new HostFiles();
}
