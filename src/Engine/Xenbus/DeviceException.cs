using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// A device that cannot be served; the message is one line for the log and for xenstore's error node.
/// </summary>
internal sealed class DeviceException(EngineError error) : EngineException(error)
{
    public DeviceException(ErrorCode code, string message)
        : this(new EngineError(code, message)) { }
}
