namespace Blkring.Engine.Errors;

/// <summary>
/// The base of the exceptions that the control plane expects: each ends one attempt, with an error that is logged.
/// </summary>
public abstract class EngineException(EngineError error) : Exception(error.Message)
{
    public EngineError Error => error;

    public ErrorCode Code => error.Code;
}
