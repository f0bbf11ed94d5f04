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
    private Action<bool>? _accept;
    private EngineError? _loss;
    private Action? _acceptLoss;
    private volatile Operation? _doing;

    private sealed record Operation(string What, long Since);

    /// <summary>The most important error; null if nothing is wrong.</summary>
    public EngineError? Error => _failure ?? _refusal ?? _waiting ?? _loss;

    /// <summary>The device waits for the operator's decision, not only for the host.</summary>
    public bool NeedsDecision => _accept is not null || _loss is not null;

    /// <summary>The device is served, but its flushes fail: <see cref="AskAboutLoss"/>.</summary>
    public bool KnowsLoss => _loss is not null;

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

    /// <summary>Notes what the device waits for. It is logged once, however often it is tried again.</summary>
    public void NoteWaiting(EngineError error) => Wait(error, accept: null);

    /// <summary>Notes that the device waits until an operator decides; logged once as well.</summary>
    /// <param name="accept">
    /// Called by <see cref="Accept"/> with its argument: lets the device go on in spite of the error.
    /// </param>
    public void Ask(EngineError error, Action<bool> accept) => Wait(error with { Device = id.ToString() }, accept);

    /// <summary>The operator decided that the device goes on.</summary>
    /// <param name="failRequest">The request that it waits for, if any, is to be answered with an error.</param>
    /// <returns>What was decided; null if nothing waits for a decision.</returns>
    public EngineError? Accept(bool failRequest)
    {
        if (_accept is null && _loss is not null)
            return AcceptLoss();
        if (_accept is not { } accept)
            return null;
        accept(failRequest);
        EngineError accepted = _waiting!;
        context.Log.Accepted(id, accepted.Code);
        ClearWaiting();
        return accepted;
    }

    /// <summary>
    /// Notes that writes are lost, and that flushes fail until an operator accepts it; logged once. The device is
    /// served meanwhile.
    /// </summary>
    public void AskAboutLoss(EngineError error, Action accept)
    {
        if (_loss is not null)
            return;
        (_loss, _acceptLoss) = (error with { Device = id.ToString() }, accept);
        context.Log.DeviceWarning(id, error.Code, context.Explain(_loss));
    }

    public void ClearLoss() => (_loss, _acceptLoss) = (null, null);

    private EngineError AcceptLoss()
    {
        EngineError accepted = _loss!;
        _acceptLoss!();
        context.Log.Accepted(id, accepted.Code);
        ClearLoss();
        return accepted;
    }

    public void ClearWaiting() => (_waiting, _accept) = (null, null);

    private void Wait(EngineError error, Action<bool>? accept)
    {
        if (_waiting?.Code != error.Code && MayLog())
            context.Log.Waiting(id, error.Code, context.Explain(error));
        (_waiting, _accept) = (error, accept);
    }

    /// <summary>
    /// Runs what may hang with an image that does not answer: meanwhile other devices' steps go on, and
    /// <see cref="Doing"/> tells what it is.
    /// </summary>
    /// <param name="what">opening the image</param>
    public TResult Blocking<TResult>(string what, Func<TResult> action)
    {
        Operation? before = _doing;
        _doing = new Operation(what, context.Runtime.Time.GetTimestamp());
        try
        {
            return context.Steps.Blocking(action);
        }
        finally
        {
            _doing = before;
        }
    }

    /// <summary>What a step or a command of the device does now that may hang, and for how long already.</summary>
    public DeviceDelay? Doing =>
        _doing is { } now ? new DeviceDelay(now.What, context.Runtime.Time.GetElapsedTime(now.Since)) : null;

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
