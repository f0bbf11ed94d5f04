namespace Blkring.Engine.Xenbus;

/// <summary>enum xenbus_state of xenbus.h: what each end of a device writes to its key <c>state</c>.</summary>
public enum XenbusState
{
    /// <summary>The key is absent or holds no state.</summary>
    Unknown = Abi.Xenbus.XenbusStateUnknown,
    Initialising = Abi.Xenbus.XenbusStateInitialising,
    InitWait = Abi.Xenbus.XenbusStateInitWait,
    Initialised = Abi.Xenbus.XenbusStateInitialised,
    Connected = Abi.Xenbus.XenbusStateConnected,
    Closing = Abi.Xenbus.XenbusStateClosing,
    Closed = Abi.Xenbus.XenbusStateClosed,
    Reconfiguring = Abi.Xenbus.XenbusStateReconfiguring,
    Reconfigured = Abi.Xenbus.XenbusStateReconfigured,
}

public static class XenbusStates
{
    /// <returns>Unknown for a key that is absent or holds no state.</returns>
    public static XenbusState Parse(string? value) =>
        value is [>= '1' and <= (char)('0' + (int)XenbusState.Reconfigured)]
            ? (XenbusState)(value[0] - '0')
            : XenbusState.Unknown;

    public static string Format(XenbusState state) => ((char)('0' + (int)state)).ToString();
}
