using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>What is wrong with a device, and which of its errors have been logged.</summary>
internal sealed class DeviceHealth(DeviceContext context, DeviceId id)
{
    private readonly LogLimiter _limiter = new(context.Runtime.Time);
    private EngineError? _failure;

    /// <summary>The values of the keys that named the medium when the device failed.</summary>
    private string? _failedSource;

    /// <summary>The connection on which the store last refused a call of this device.</summary>
    private StoreSession? _refusedBy;
    private EngineError? _refusal;
    private EngineError? _waiting;

    /// <summary>The most important error; null if nothing is wrong.</summary>
    public EngineError? Error => _failure ?? _refusal ?? _waiting;

    /// <summary>The device failed, and the keys that name its medium have not changed since.</summary>
    public bool HasFailedWith(string source) => _failure is not null && _failedSource == source;

    public bool HasFailed => _failure is not null;

    /// <returns>The line for xenstore and the log.</returns>
    public string NoteFailure(EngineError error, string source)
    {
        (_failure, _failedSource) = (error, source);
        string line = LogText.Shorten(context.Explain(error), BackendArea.MaxReasonLength);
        if (MayLog())
            context.Log.DeviceFailed(id, error.Code, line);
        return line;
    }

    public void ClearFailure() => (_failure, _failedSource) = (null, null);

    /// <summary>
    /// Notes that the store refused a call. This is logged for administrators if it happens twice in a row; a single
    /// refusal is transient.
    /// </summary>
    public void NoteRefusal(EngineError error)
    {
        context.Log.StoreFailed(id, error.Code, error.Message);
        StoreSession? session = context.Session;
        bool persists = session is not null && session == _refusedBy;
        _refusedBy = session;
        if (!persists)
            return;
        if (_refusal is null && MayLog())
            context.Log.StoreRefuses(id, error.Code, error.Message);
        _refusal = error;
    }

    public void ClearRefusal() => (_refusedBy, _refusal) = (null, null);

    /// <summary>Notes what the device waits for. Only the start of a wait is logged.</summary>
    public void NoteWaiting(EngineError error)
    {
        if (_waiting is null && MayLog())
            context.Log.Waiting(id, error.Code, context.Explain(error));
        _waiting = error;
    }

    public void ClearWaiting() => _waiting = null;

    /// <summary>Logs something that keeps the device from being served as configured.</summary>
    public void Warn(EngineError error)
    {
        if (MayLog())
            context.Log.DeviceWarning(id, error.Code, context.Explain(error));
    }

    /// <summary>Whether the next line about something that a guest can cause is logged.</summary>
    public bool MayLog()
    {
        if (!_limiter.TryTake(out long suppressed))
            return false;
        if (suppressed > 0)
            context.Log.LinesLeftOut(id, suppressed);
        return true;
    }
}
