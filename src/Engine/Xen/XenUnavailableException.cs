using Blkring.Engine.Errors;

namespace Blkring.Engine.Xen;

/// <summary>Xen is not available; the message is one line that says what to do.</summary>
public sealed class XenUnavailableException(EngineError error) : EngineException(error)
{
    public XenUnavailableException(ErrorCode code, string message)
        : this(new EngineError(code, message)) { }
}
