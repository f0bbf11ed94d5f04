using Blkring.Engine.Hypervisor;
using Blkring.Engine.Reactors;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>What all devices of a backend share.</summary>
internal sealed class DeviceContext(
    BackendOptions options,
    IHypervisor hypervisor,
    IReactors reactors,
    ILogger log,
    StepPool pool
)
{
    private volatile StoreConnection? _store;

    public BackendOptions Options => options;
    public IHypervisor Hypervisor => hypervisor;
    public IReactors Reactors => reactors;
    public ILogger Log => log;
    public StepPool Pool => pool;

    /// <summary>The path of the watched directory: backend/vbd3.</summary>
    public string Root { get; } = "backend/" + options.Directory;

    /// <summary>Null while the store is away.</summary>
    public StoreConnection? Store
    {
        get => _store;
        set => _store = value;
    }
}

/// <summary>
/// One connection to the store; watches die with it, so that each device sets its own again on the next.
/// </summary>
/// <param name="CameBackEmpty">
/// The store lost everything while we were not connected: what is absent was not removed by anybody.
/// </param>
internal sealed record StoreConnection(IXenstore Store, bool CameBackEmpty);
