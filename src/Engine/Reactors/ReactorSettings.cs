using Blkring.Engine.Settings;

namespace Blkring.Engine.Reactors;

/// <summary>The settings of the threads that serve queues; <see cref="ReactorPoolOptions.Of"/> takes them up.</summary>
public static class ReactorSettings
{
    /// <summary>The default limit of I/O threads: with more threads, the disks are the bottleneck.</summary>
    internal const int DefaultMaxIoThreads = 4;

    private const int MaxIoThreads = 256;

    public static readonly Setting<int?> IoThreads = Setting.OptionalNumber(
        "IoThreads",
        min: 1,
        MaxIoThreads,
        withoutValue: $"one per CPU, at most {DefaultMaxIoThreads}",
        "The number of I/O threads, which all queues share."
    );

    public static readonly Setting<IReadOnlyList<int>> Cpus = Setting.Cpus(
        "Cpus",
        withoutValue: "any",
        "The CPUs to which I/O threads are pinned in turn: 2,4-7."
    );

    /// <summary>True: one thread per queue.</summary>
    public static readonly Setting<bool> ThreadsPerQueue = Setting.Choice(
        "ThreadsPerQueue",
        "shared",
        "shared: all queues share the I/O threads. dedicated: one thread per queue.",
        ("shared", false),
        ("dedicated", true)
    );

    public static readonly NumberSetting PollWindowMicroseconds = Setting.Number(
        "PollWindowMicroseconds",
        min: 0,
        max: 10_000,
        defaultValue: 50,
        "Adaptive busy polling: how long an I/O thread polls for work before it sleeps, where that pays; up to "
            + $"{AdaptivePolling.MaxGrowth} times as long where requests take long. 0 disables it.",
        form: "MICROSECONDS",
        unit: "µs"
    );
}
