using Blkring.Engine.Errors;

namespace Blkring.Engine.Xen;

/// <summary>There is no Xen to work with; the message is one line that names what to do.</summary>
public sealed class XenUnavailableException(EngineError error) : EngineException(error)
{
    public XenUnavailableException(ErrorCode code, string message)
        : this(new EngineError(code, message)) { }
}
