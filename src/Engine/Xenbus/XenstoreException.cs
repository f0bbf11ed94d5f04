using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>xenstore refused a call or does not answer; the message is one line.</summary>
public sealed class XenstoreException(EngineError error) : EngineException(error)
{
    public XenstoreException(ErrorCode code, string message, int errno = 0)
        : this(new EngineError(code, message) { Errno = errno }) { }

    /// <summary>Positive; 0 when there is none.</summary>
    public int Errno => Error.Errno;
}
