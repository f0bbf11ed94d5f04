using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What the control plane takes from the process that it runs in: its clock, its threads, its files, its address space. The defaults are
/// those of the daemon, and this is the only place that names them; a simulator passes its own and can run everything
/// on one thread.
/// </summary>
public sealed record ControlRuntime
{
    public static ControlRuntime Production { get; } = new();

    /// <summary>Every clock and timer.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How a step waits on its own thread, which it does only in <see cref="IStepPool.Blocking"/>.</summary>
    public Action<TimeSpan> Sleep { get; init; } = Thread.Sleep;

    /// <summary>The budget for guests' mapped pages, which all devices share.</summary>
    public MappingBudget Mappings { get; init; } = MappingBudget.OfProcess;

    /// <summary>Runs the devices' steps.</summary>
    internal Func<TimeProvider, IStepPool> StartSteps { get; init; } = time => new StepPool("xenbus", time);

    /// <summary>
    /// Calls <see cref="WatchLoop.Turn"/> whenever there is something to do, until the result is disposed.
    /// </summary>
    internal Func<WatchLoop, IDisposable> StartWatching { get; init; } = loop => new WatchThread(loop);

    internal IControlFiles Files { get; init; } = new HostFiles();
}
