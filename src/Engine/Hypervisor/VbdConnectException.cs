using Blkring.Engine.Errors;

namespace Blkring.Engine.Hypervisor;

/// <summary>
/// A frontend that cannot be connected; the message is one line for the log and for xenstore's error node.
/// </summary>
public sealed class VbdConnectException(EngineError error) : EngineException(error)
{
    public VbdConnectException(string message, ErrorCode code = ErrorCode.ConnectFailed)
        : this(new EngineError(code, message)) { }
}
