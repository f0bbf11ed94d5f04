using System.Globalization;
using Blkring.Engine.Xenbus;
using Blkring.Interop;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>What xl is asked to attach.</summary>
internal sealed record DiskRequest
{
    /// <summary>The key params, whole.</summary>
    public required string Params { get; init; }
    public string Directory { get; init; } = "vbd3";
    public string Type { get; init; } = "vbd3";
    public string? Script { get; init; } = "block-blkring";
    public string Mode { get; init; } = "w";
    public string DeviceType { get; init; } = "disk";
    public bool Removable { get; init; }
    public bool DiscardEnable { get; init; } = true;

    /// <summary>Keys that get another value; a key with null is absent.</summary>
    public IReadOnlyDictionary<string, string?> Changes { get; init; } = new Dictionary<string, string?>();
}

/// <summary>
/// Plays xl: writes and removes both areas of a device, in one transaction each and with their permissions, as recorded
/// on Xen 4.20.
/// </summary>
/// <param name="connection">Returns the current connection to the store, which a test may restart.</param>
internal sealed class Toolstack(Func<IXenstore> connection)
{
    private IXenstore Store => connection();

    public static string BackendPath(DeviceId id, string directory = "vbd3") =>
        $"/local/domain/0/backend/{directory}/{id}";

    public static string FrontendPath(DeviceId id) =>
        string.Create(CultureInfo.InvariantCulture, $"/local/domain/{id.Frontend}/device/vbd/{id.Number}");

    public void Attach(DeviceId id, DiskRequest disk)
    {
        string backend = BackendPath(id, disk.Directory),
            frontend = FrontendPath(id);
        Dictionary<string, string?> keys = new()
        {
            ["frontend"] = frontend,
            ["params"] = disk.Params,
            ["script"] = disk.Script,
            ["frontend-id"] = id.Frontend.ToString(),
            ["online"] = "1",
            ["removable"] = disk.Removable ? "1" : "0",
            ["bootable"] = "1",
            ["state"] = "1",
            ["dev"] = "xvda",
            ["type"] = disk.Type,
            ["mode"] = disk.Mode,
            ["device-type"] = disk.DeviceType,
            ["discard-enable"] = disk.DiscardEnable ? "1" : "0",
            ["specification"] = "xen",
        };
        foreach ((string key, string? value) in disk.Changes)
            keys[key] = value;
        Store.Transact(transaction =>
        {
            Store.Remove(frontend, transaction);
            Store.Remove(backend, transaction);
            Create(frontend, transaction, owner: id.Frontend.Value, reader: 0);
            Write(
                frontend,
                transaction,
                new()
                {
                    ["backend"] = backend,
                    ["backend-id"] = "0",
                    ["state"] = "1",
                    ["virtual-device"] = id.Number.ToString(CultureInfo.InvariantCulture),
                    ["device-type"] = disk.DeviceType,
                    ["trusted"] = "1",
                    ["protocol"] = "x86_64-abi",
                }
            );
            Create(backend, transaction, owner: 0, reader: id.Frontend.Value);
            Write(backend, transaction, keys);
            return true;
        });
    }

    /// <summary>Requests the removal; <see cref="RemoveAreas"/> then removes the areas.</summary>
    public void Detach(DeviceId id, string directory = "vbd3") =>
        Store.Transact(transaction =>
        {
            Store.Write(BackendPath(id, directory) + "/online", "0", transaction);
            Store.Write(BackendPath(id, directory) + "/state", "5", transaction);
            return true;
        });

    public void RemoveAreas(DeviceId id, string directory = "vbd3") =>
        Store.Transact(transaction =>
        {
            Store.Remove(FrontendPath(id), transaction);
            Store.Remove(BackendPath(id, directory), transaction);
            return true;
        });

    public void RemoveFrontend(DeviceId id) => Store.Remove(FrontendPath(id));

    public XenbusState BackendState(DeviceId id, string directory = "vbd3") =>
        XenbusStates.Parse(Store.Read(BackendPath(id, directory) + "/state"));

    public void WaitFor(DeviceId id, XenbusState state, string directory = "vbd3") =>
        Wait.Until(
            () => BackendState(id, directory) == state,
            () => $"backend {id} goes to {state}, it is {BackendState(id, directory)}, error: {Error(id, directory)}"
        );

    public string? Read(DeviceId id, string key, string directory = "vbd3") =>
        Store.Read($"{BackendPath(id, directory)}/{key}");

    /// <summary>Where Linux's backends put it.</summary>
    public string? Error(DeviceId id, string directory = "vbd3") =>
        Store.Read($"/local/domain/0/error/backend/{directory}/{id}/error");

    /// <summary>A folder whose keys inherit its permissions.</summary>
    private void Create(string path, uint transaction, uint owner, uint reader)
    {
        Store.Write(path, "", transaction);
        // A store in memory has no permissions.
        if (Store is not XenstoreConnection store)
            return;
        xs_permissions[] permissions =
        [
            new() { id = owner, perms = xs_permissions.XS_PERM_NONE },
            new() { id = reader, perms = xs_permissions.XS_PERM_READ },
        ];
        store.SetPermissions(path, permissions, transaction);
    }

    private void Write(string folder, uint transaction, Dictionary<string, string?> keys)
    {
        foreach ((string key, string? value) in keys)
            if (value is not null)
                Store.Write($"{folder}/{key}", value, transaction);
    }
}
