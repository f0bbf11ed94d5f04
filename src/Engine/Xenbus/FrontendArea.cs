using Blkring.Engine.Errors;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>The frontend's area in xenstore: where it is, and the watch on its state.</summary>
/// <param name="backendArea">backend/vbd3/7/51712</param>
internal sealed class FrontendArea(DeviceId id, string backendArea)
{
    /// <summary>The beginning of a watch's token; the device's id follows.</summary>
    public const string WatchTokenPrefix = "frontend/";

    /// <summary>
    /// XENSTORE_REL_PATH_MAX of xs_wire.h allows 2048 characters below a domain's home. A frontend's longest key,
    /// queue-127/event-channel, must fit as well.
    /// </summary>
    private const int MaxPathLength = 2000;

    private string? _path;

    /// <summary>The connection on which the state is watched.</summary>
    private StoreSession? _watchedBy;

    /// <summary>Null until the toolstack has named it, and while the named path cannot be the frontend's.</summary>
    public string? Path => _path;

    private string WatchToken => WatchTokenPrefix + id;
    private string StatePath => $"{_path}/{XenstoreKeys.State}";

    /// <summary>
    /// Finds the area, watches its state (which also reports the area's removal), and reads the state.
    /// </summary>
    /// <returns>Unknown where there is no area or no state.</returns>
    public XenbusState ReadState(StoreSession session)
    {
        Find(session);
        return _path is null ? XenbusState.Unknown : XenbusStates.Parse(session.Store.Read(StatePath));
    }

    /// <exception cref="DeviceException">
    /// The keys that name the frontend are missing or contradict the backend area's own path.
    /// </exception>
    public void Check(IXenstore store)
    {
        string path =
            store.Read($"{backendArea}/{XenstoreKeys.Frontend}")
            ?? throw new DeviceException(
                ErrorCode.FrontendKeyMissing,
                "the key frontend is missing: the toolstack must write the path of the frontend"
            );
        if (FindProblem(path) is { } problem)
            throw new DeviceException(Wrong(XenstoreKeys.Frontend, path, problem));
        if (store.Read($"{backendArea}/{XenstoreKeys.FrontendId}") is { } domain && domain != id.Frontend.ToString())
        {
            string message = $"frontend-id is {LogText.Quote(domain)}, but the area belongs to domain {id.Frontend}";
            throw new DeviceException(Wrong(XenstoreKeys.FrontendId, domain, message));
        }
    }

    /// <summary>Reads what the frontend published; <see cref="Check"/> found its area.</summary>
    /// <exception cref="DeviceException">A key is missing or out of bounds.</exception>
    public VbdConnection ReadConnection(IXenstore store, DeviceOptions options, bool takeover) =>
        new FrontendKeys(store, _path!, options).Read(id.Frontend, takeover);

    public void Unwatch(StoreSession session)
    {
        if (_watchedBy == session)
            session.Store.Unwatch(StatePath, WatchToken);
        _watchedBy = null;
    }

    private void Find(StoreSession session)
    {
        string? path = session.Store.Read($"{backendArea}/{XenstoreKeys.Frontend}");
        if (path == _path && (path is null || _watchedBy == session))
            return;
        Unwatch(session);
        _path = null;
        // A path that cannot be the frontend's is neither watched nor read; Check reports it before it is needed.
        if (path is null || FindProblem(path) is not null)
            return;
        _path = path;
        session.Store.Watch(StatePath, WatchToken);
        _watchedBy = session;
    }

    /// <summary>
    /// The area of a frontend must be in its own domain; otherwise any key that this process may read could be taken
    /// for the frontend's. A path that xenstored rejects (docs/misc/xenstore.txt of Xen) is rejected here, because
    /// every step would fail at it and none could close the device.
    /// </summary>
    /// <returns>One line that says what is wrong with the path; null when nothing is.</returns>
    private string? FindProblem(string path)
    {
        string home = XenstoreKeys.HomeOf(id.Frontend) + "/";
        bool inside = path.StartsWith(home, StringComparison.Ordinal) && path.Length > home.Length;
        if (!inside)
            return $"the key frontend is {LogText.Quote(path)}, which is not below {home[..^1]}";
        bool isPath =
            path.Length <= MaxPathLength
            && !path.EndsWith('/')
            && !path.Contains("//", StringComparison.Ordinal)
            && path.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '/' or '_' or '@');
        return isPath ? null : $"the key frontend is {LogText.Quote(path)}, which is not a path of xenstore";
    }

    private static EngineError Wrong(string key, string value, string message) =>
        new(ErrorCode.FrontendKeyWrong, message) { Key = key, Value = value };
}
