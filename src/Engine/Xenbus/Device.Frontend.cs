using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>The frontend's area: where it is, and the watch on its state.</summary>
internal sealed partial class Device
{
    private string? _frontendPath;

    /// <summary>The connection on which the frontend's state is watched.</summary>
    private StoreConnection? _watchedBy;

    /// <summary>Tells the backend whose event it is.</summary>
    public const string WatchTokenPrefix = "frontend/";

    private string WatchToken => WatchTokenPrefix + Id;
    private string WatchedPath => $"{_frontendPath}/state";

    /// <summary>Finds the frontend's area and watches its state, which also tells of the area's removal.</summary>
    private void FindFrontend(StoreConnection connection)
    {
        string? path = _store.Read($"{_area.Path}/frontend");
        if (path == _frontendPath && (path is null || _watchedBy == connection))
            return;
        if (_watchedBy == connection)
            _store.Unwatch(WatchedPath, WatchToken);
        (_watchedBy, _frontendPath) = (null, null);
        // A path that cannot be the frontend's is neither watched nor read; whoever wants to begin or connect hears of
        // it.
        if (path is null || WrongFrontend(path) is not null)
            return;
        _frontendPath = path;
        _store.Watch(WatchedPath, WatchToken);
        _watchedBy = connection;
    }

    /// <exception cref="DeviceException">
    /// The keys that name the frontend are missing, or contradict the area's own path.
    /// </exception>
    private void CheckFrontend()
    {
        string path =
            _store.Read($"{_area.Path}/frontend")
            ?? throw new DeviceException(
                ErrorCode.FrontendKeyMissing,
                "the key frontend is missing: the toolstack has not said where the frontend is"
            );
        if (WrongFrontend(path) is { } wrong)
            throw new DeviceException(ErrorCode.FrontendKeyWrong, wrong);
        if (_store.Read($"{_area.Path}/frontend-id") is { } id && id != Id.Frontend.ToString())
            throw new DeviceException(
                ErrorCode.FrontendKeyWrong,
                $"frontend-id is {LogText.Quote(id)}, the area is of domain {Id.Frontend}"
            );
    }

    /// <summary>
    /// XENSTORE_REL_PATH_MAX of xs_wire.h is 2048 below a domain's home; a frontend's longest key,
    /// queue-127/event-channel, has to fit as well.
    /// </summary>
    private const int MaxFrontendPathLength = 2000;

    /// <summary>
    /// A frontend has its area in its own domain, or anything that this process may read could be taken for its
    /// answers. What xenstored takes for no path (docs/misc/xenstore.txt of Xen) is refused here, or every step would
    /// fail at it and none could close the device.
    /// </summary>
    private string? WrongFrontend(string path)
    {
        string home = $"/local/domain/{Id.Frontend}/";
        bool inside = path.StartsWith(home, StringComparison.Ordinal) && path.Length > home.Length;
        if (!inside)
            return $"the key frontend is {LogText.Quote(path)}, which is not below {home[..^1]}";
        bool isPath =
            path.Length <= MaxFrontendPathLength
            && !path.EndsWith('/')
            && !path.Contains("//", StringComparison.Ordinal)
            && path.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '/' or '_' or '@');
        return isPath ? null : $"the key frontend is {LogText.Quote(path)}, which is no path of xenstore";
    }
}
