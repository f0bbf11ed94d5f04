using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Reactors;
using Blkring.Engine.Vbds;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>What all devices of a backend share.</summary>
internal sealed class DeviceContext(
    BackendOptions options,
    IHypervisor hypervisor,
    IReactors reactors,
    ILogger log,
    ControlRuntime runtime
)
{
    /// <summary>The time before a device retries what the store or a disk refused.</summary>
    public static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    private volatile StoreSession? _session;

    public BackendOptions Options => options;
    public IHypervisor Hypervisor => hypervisor;
    public IReactors Reactors => reactors;
    public ILogger Log => log;
    public ControlRuntime Runtime => runtime;
    public IStepPool Steps { get; } = runtime.StartSteps(runtime.Time);

    public MappingBudget Mappings { get; } = runtime.Mappings(options.MaxMappedGrants ?? hypervisor.MappableGrants);

    /// <summary>The path of the watched directory: backend/vbd3.</summary>
    public string Root { get; } = RootOf(options);

    /// <summary>What <see cref="XenbusBackend.Limit"/> has set.</summary>
    public CommandedLimits Limits { get; } = new(runtime.Files, options.LimitsFile);

    public Journals Journals { get; } = new(runtime.Files, options.JournalFolder, RootOf(options));

    /// <summary>Null while the store is away.</summary>
    public StoreSession? Session
    {
        get => _session;
        set => _session = value;
    }

    /// <summary>
    /// The error's message with the advice of the command line, which knows options and configuration keys.
    /// </summary>
    public string Explain(EngineError error) =>
        options.Advice(error) is { Length: > 0 } advice ? $"{error.Message}; {advice}" : error.Message;

    private static string RootOf(BackendOptions options) => $"{XenstoreKeys.Backend}/{options.Directory}";
}

/// <summary>One connection to the store. Its watches end with it: each device sets its own again on the next.</summary>
/// <param name="CameBackEmpty">
/// The store lost its content between the last connection and this one: absent keys were not removed by a toolstack.
/// </param>
internal sealed record StoreSession(IXenstore Store, bool CameBackEmpty);
