namespace Blkring.Engine.Xenbus;

/// <summary>A device's backend area, and the node beside it that tells of its errors.</summary>
/// <param name="path">backend/vbd3/7/51712</param>
internal sealed class BackendArea(string path)
{
    public string Path => path;

    /// <summary>
    /// Where other backends put it, and people look for it: below error/, with the area's own path (xenbus_dev_fatal of
    /// Linux).
    /// </summary>
    public string ErrorPath { get; } = "error/" + path;

    /// <summary>
    /// Writes keys and a new state in one transaction, unless the toolstack changed the state meanwhile, or took the
    /// area away: what it wrote must not be overwritten, and an area that is gone must not be made again.
    /// </summary>
    /// <returns>False when nothing was written for that reason.</returns>
    public bool Switch(
        IXenstore store,
        XenbusState expected,
        XenbusState next,
        ReadOnlySpan<KeyValuePair<string, string?>> keys
    ) => Switch(store, expected, next, [.. keys], error: null);

    /// <summary>
    /// Goes on with a reason why the device fails, for people in the error node and for libxl in hotplug-error.
    /// </summary>
    public bool Fail(IXenstore store, XenbusState expected, XenbusState next, string reason) =>
        Switch(store, expected, next, [new("hotplug-error", reason)], reason);

    private bool Switch(
        IXenstore store,
        XenbusState expected,
        XenbusState next,
        KeyValuePair<string, string?>[] keys,
        string? error
    ) =>
        store.Transact(transaction =>
        {
            if (XenbusStates.Parse(store.Read($"{path}/state", transaction)) != expected)
                return false;
            if (error is not null)
                Put(store, $"{ErrorPath}/error", error, transaction);
            foreach ((string key, string? value) in keys)
                Put(store, $"{path}/{key}", value, transaction);
            Put(store, $"{path}/state", XenbusStates.Format(next), transaction);
            return true;
        });

    /// <summary>Tells a connected frontend of a new length: sectors, then the same state again (B23).</summary>
    /// <returns>False when it is not connected.</returns>
    public bool AnnounceCapacity(IXenstore store, long sectors)
    {
        string connected = XenbusStates.Format(XenbusState.Connected);
        return store.Transact(transaction =>
        {
            if (store.Read($"{path}/state", transaction) != connected)
                return false;
            store.Write($"{path}/sectors", BackendKeys.Text(sectors), transaction);
            store.Write($"{path}/state", connected, transaction);
            return true;
        });
    }

    /// <summary>Takes the reason away: it is none any more, or the device is gone.</summary>
    public void ForgetError(IXenstore store)
    {
        if (store.Read($"{path}/hotplug-error") is not null)
            store.Remove($"{path}/hotplug-error");
        store.Remove(ErrorPath);
        // The domain's folder, and the directory's, when that was the last below.
        string parent = ErrorPath;
        for (int level = 0; level < 2; level++)
        {
            parent = parent[..parent.LastIndexOf('/')];
            if (store.Directory(parent) is not [])
                return;
            store.Remove(parent);
        }
    }

    /// <summary>A value that is there already is not written again: each write wakes everybody who watches.</summary>
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
