using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>The commands, and the status that <c>blkring list</c> shows.</summary>
internal sealed partial class Device
{
    private static readonly TimeSpan s_delay = TimeSpan.FromSeconds(2);

    /// <summary>Does not wait, so that it works even if the disk hangs.</summary>
    /// <param name="keep">Also for the next daemon.</param>
    public void Limit(Func<ThrottleLimits, ThrottleLimits> change, bool keep)
    {
        _limits.Command(change);
        _context.Limits.Note(_identity, _limits.Current, keep);
    }

    /// <param name="bytes">Null: the image's own length now.</param>
    public void Resize(long? bytes) => Command(session => ResizeTo(session.Store, _disk.SectorsFor(bytes)));

    public void Pause() =>
        Command(_ =>
        {
            RequireConnected();
            if (!_rings.TryPause())
                throw new XenbusCommandException(
                    ErrorCode.RequestsUnderWay,
                    $"device {Id} still has requests in flight after "
                        + $"{_context.Options.DrainTimeout.TotalSeconds:0.#} s: it is not paused"
                );
            if (_disk.Flush() is not { } error)
                return;
            _rings.Resume();
            throw new XenbusCommandException(error with { Message = error.Message + "; it is not paused" });
        });

    public void Resume() =>
        Command(_ =>
        {
            RequireConnected();
            _rings.Resume();
        });

    /// <summary>The operator lets a device go on that waits for a decision.</summary>
    /// <param name="failRequest">A request that crashed the daemon too often is answered with an error.</param>
    public void Continue(bool failRequest) =>
        Command(session =>
        {
            if (_health.Accept(failRequest) is null)
                throw new XenbusCommandException(
                    ErrorCode.NothingToDecide,
                    $"device {Id} does not wait for a decision"
                );
            _hostRetry.Reset();
            Reconcile(session);
        });

    public void Eject() => CommandMedium(null);

    public void Insert(string path)
    {
        if (path is not ['/', ..])
            throw new XenbusCommandException(
                new EngineError(
                    ErrorCode.ImagePathRelative,
                    $"name the image by its whole path, which begins with /, not {LogText.Quote(path)}"
                )
                {
                    Path = path,
                }
            );
        CommandMedium(path);
    }

    public DeviceStatus Status()
    {
        (AreaStates states, Disk? disk, VbdConnection? connection) = (_states, _disk.Current, _rings.Connection);
        EngineError? error = _health.Error;
        return new DeviceStatus
        {
            Id = Id,
            BackendPath = _area.Path,
            FrontendPath = _frontend.Path,
            BackendState = states.Backend,
            FrontendState = states.Frontend,
            IsOnline = states.Online,
            Image = disk?.Describe(),
            ImagePath = (disk as FileDisk)?.Path,
            IsBlockDevice = disk is FileDisk { IsBlockDevice: true },
            IsLocked = _disk.IsLocked,
            HeldLock = (disk as FileDisk)?.HeldLock,
            IsClaimed = disk is FileDisk { IsClaimed: true },
            CapacitySectors = disk?.CapacitySectors ?? 0,
            IsReadOnly = disk is { ReadOnly: true },
            IsConnected = _rings.IsConnected,
            Protocol = connection?.Protocol,
            RingPages = connection?.Rings[0].References.Count ?? 0,
            MaxMappedPages = _rings.MaxMappedPages,
            Queues = _rings.Queues,
            Features = _offer.Features,
            IsPaused = _rings.IsPaused,
            IsWaiting = states.GuestHolds && !_rings.AreServed,
            NeedsDecision = _health.NeedsDecision,
            IsStopping = _rings.IsStopping,
            IsOrphan = _isOrphan,
            Delay = FindDelay(),
            Error = error,
            LastError = error is null ? null : LogText.Shorten(_context.Explain(error), BackendArea.MaxReasonLength),
            Limits = _limits.Current,
        };
    }

    /// <summary>What the device waits for longer than disks take.</summary>
    private DeviceDelay? FindDelay()
    {
        if (_health.Doing is { } doing && doing.Lasted >= s_delay)
            return doing;
        TimeSpan oldest = _rings.OldestRequest;
        return oldest >= s_delay ? new DeviceDelay("a request in its disk", oldest) : null;
    }

    private void RequireConnected()
    {
        if (!_rings.AreServed)
            throw new XenbusCommandException(ErrorCode.DeviceNotConnected, $"device {Id} is not connected");
    }

    /// <summary>
    /// Changes the key params, and the state machine follows it. So the medium is recorded in the store and survives a
    /// restart of the daemon.
    /// </summary>
    private void CommandMedium(string? path) =>
        Command(session =>
        {
            if (!_disk.Keys.IsDrive)
                throw new XenbusCommandException(
                    ErrorCode.MediumFixed,
                    $"device {Id} is neither a CD-ROM nor removable: its medium cannot be changed"
                );
            if (path is not null)
                _disk.TryImage(path);
            session.Store.Write($"{_area.Path}/{XenstoreKeys.Params}", path is null ? "" : "aio:" + path);
            _disk.NoteMediumCommand(inserted: path is not null);
            Reconcile(session);
        });

    /// <summary>
    /// On a thread of its own: what a command does may hang with the device's disk, and the operator gets an answer all
    /// the same. Otherwise commands that hang would take all connections of the control socket.
    /// </summary>
    private void Command(Action<StoreSession> action)
    {
        TimeSpan timeout = _context.Options.CommandTimeout;
        // A command that has its turn may drain the device.
        if (!_context.Steps.TryRun(() => CarryOut(action, timeout), timeout + _context.Options.DrainTimeout))
            throw Busy();
    }

    private void CarryOut(Action<StoreSession> action, TimeSpan timeout)
    {
        if (!_gate.TryEnter(timeout))
            throw Busy();
        try
        {
            if (_hasEnded)
                throw new XenbusCommandException(ErrorCode.DeviceGone, $"device {Id} is gone");
            action(_context.Session ?? throw StoreAway());
        }
        catch (EngineException e) when (e is XenstoreException or ImageException)
        {
            throw new XenbusCommandException(e.Error);
        }
        catch (ObjectDisposedException)
        {
            throw StoreAway();
        }
        finally
        {
            _gate.Exit();
            if (_isStepDue)
                _context.Steps.Mark(this);
        }
    }

    private XenbusCommandException Busy() =>
        new(ErrorCode.DeviceBusy, $"device {Id} is busy: its disk does not answer");

    private static XenbusCommandException StoreAway() =>
        new(ErrorCode.StoreDisconnected, "xenstore is away: try again when it is back");
}
