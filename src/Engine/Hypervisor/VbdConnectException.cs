using Blkring.Engine.Errors;

namespace Blkring.Engine.Hypervisor;

/// <summary>
/// A frontend that cannot be connected; the message is one line for the log and for xenstore's error node.
/// </summary>
public sealed class VbdConnectException(EngineError error) : EngineException(error)
{
    /// <param name="errno">A positive errno; 0 when no system call failed.</param>
    public VbdConnectException(string message, ErrorCode code = ErrorCode.ConnectFailed, int errno = 0)
        : this(new EngineError(code, message) { Errno = errno }) { }
}
