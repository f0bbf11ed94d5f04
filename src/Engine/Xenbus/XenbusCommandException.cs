using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>A command that cannot be carried out; the message is one line.</summary>
public sealed class XenbusCommandException(EngineError error) : EngineException(error)
{
    public XenbusCommandException(ErrorCode code, string message)
        : this(new EngineError(code, message)) { }
}
