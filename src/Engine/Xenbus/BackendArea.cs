namespace Blkring.Engine.Xenbus;

/// <summary>A device's backend area, and the node outside of it that holds its error.</summary>
/// <param name="path">backend/vbd3/7/51712</param>
internal sealed class BackendArea(string path)
{
    /// <summary>The longest reason that is written to the store.</summary>
    public const int MaxReasonLength = 500;

    public string Path => path;

    /// <summary>
    /// Where other backends write their errors and administrators look: below error/, with the area's own path
    /// (xenbus_dev_fatal of Linux).
    /// </summary>
    public string ErrorPath { get; } = $"{XenstoreKeys.Error}/{path}";

    public string? Read(IXenstore store, string key) => store.Read($"{path}/{key}");

    /// <summary>The toolstack runs a hotplug script for the device.</summary>
    public bool HasScript(IXenstore store) => !string.IsNullOrEmpty(Read(store, XenstoreKeys.Script));

    /// <summary>
    /// Writes keys and a new state in one transaction, unless the toolstack has changed the state or removed the area:
    /// its state must not be overwritten, and an area that is gone must not be created again.
    /// </summary>
    /// <returns>False when nothing was written for that reason.</returns>
    public bool Switch(
        IXenstore store,
        XenbusState expected,
        XenbusState next,
        ReadOnlySpan<KeyValuePair<string, string?>> keys
    ) => Switch(store, expected, next, [.. keys], error: null);

    /// <summary>
    /// Switches the state and writes why the device fails: to the error node for people, and to hotplug-error for
    /// libxl.
    /// </summary>
    public bool Fail(IXenstore store, XenbusState expected, XenbusState next, string reason) =>
        Switch(store, expected, next, [new(XenstoreKeys.HotplugError, reason)], reason);

    private bool Switch(
        IXenstore store,
        XenbusState expected,
        XenbusState next,
        KeyValuePair<string, string?>[] keys,
        string? error
    ) =>
        store.Transact(transaction =>
        {
            if (XenbusStates.Parse(store.Read($"{path}/{XenstoreKeys.State}", transaction)) != expected)
                return false;
            if (error is not null)
                Put(store, $"{ErrorPath}/{XenstoreKeys.Error}", error, transaction);
            foreach ((string key, string? value) in keys)
                Put(store, $"{path}/{key}", value, transaction);
            Put(store, $"{path}/{XenstoreKeys.State}", XenbusStates.Format(next), transaction);
            return true;
        });

    /// <summary>Tells a connected frontend the new length: writes sectors, then the same state again (B23).</summary>
    /// <returns>False when it is not connected.</returns>
    public bool AnnounceCapacity(IXenstore store, long sectors)
    {
        string connected = XenbusStates.Format(XenbusState.Connected);
        return store.Transact(transaction =>
        {
            if (store.Read($"{path}/{XenstoreKeys.State}", transaction) != connected)
                return false;
            store.Write($"{path}/{XenstoreKeys.Sectors}", BackendKeys.Text(sectors), transaction);
            store.Write($"{path}/{XenstoreKeys.State}", connected, transaction);
            return true;
        });
    }

    /// <summary>Removes the error: its cause is gone, or the device is.</summary>
    public void ForgetError(IXenstore store)
    {
        if (Read(store, XenstoreKeys.HotplugError) is not null)
            store.Remove($"{path}/{XenstoreKeys.HotplugError}");
        store.Remove(ErrorPath);
        // Also removes the folders of the domain and of the directory if this was the last error in them.
        string parent = ErrorPath;
        for (int level = 0; level < 2; level++)
        {
            parent = parent[..parent.LastIndexOf('/')];
            if (store.Directory(parent) is not [])
                return;
            store.Remove(parent);
        }
    }

    /// <summary>Writes a key only if that changes it: each write wakes all watchers.</summary>
    private static void Put(IXenstore store, string key, string? value, uint transaction)
    {
        string? present = store.Read(key, transaction);
        if (present == value)
            return;
        if (value is null)
            store.Remove(key, transaction);
        else
            store.Write(key, value, transaction);
    }
}
