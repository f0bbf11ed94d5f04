namespace Blkring.Engine.Xenbus;

/// <summary>enum xenbus_state of xenbus.h: what each end of a device writes into its key <c>state</c>.</summary>
public enum XenbusState
{
    /// <summary>The key is absent or holds no state.</summary>
    Unknown = 0,
    Initialising = 1,
    InitWait = 2,
    Initialised = 3,
    Connected = 4,
    Closing = 5,
    Closed = 6,
    Reconfiguring = 7,
    Reconfigured = 8,
}

public static class XenbusStates
{
    /// <returns>Unknown for a key that is absent or holds no state.</returns>
    public static XenbusState Parse(string? value) =>
        value is [>= '1' and <= '8'] ? (XenbusState)(value[0] - '0') : XenbusState.Unknown;

    public static string Format(XenbusState state) => ((char)('0' + (int)state)).ToString();
}
