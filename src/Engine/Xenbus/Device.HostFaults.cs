using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>A running guest's device that the host keeps from being served: it waits, Connected.</summary>
internal sealed partial class Device
{
    /// <summary>More than the longest delay between two tries.</summary>
    private static readonly TimeSpan s_provenAfter = TimeSpan.FromSeconds(6);

    // A struct with state: not readonly.
    private Backoff _hostRetry = new(TimeSpan.FromMilliseconds(250), TimeSpan.FromSeconds(4));
    private bool _waitsForHost;

    /// <summary>When the disk was last found full or gone; null while it is not.</summary>
    private long? _lostAt;

    /// <summary>
    /// The host keeps a running guest's device from being served: the guest waits, and its device stays Connected. From
    /// Closing there is no way back for its disk. The cause may go by itself, so it is tried again.
    /// </summary>
    private void AwaitHost(EngineError error)
    {
        _waitsForHost = true;
        // What is open may be the cause.
        if (!_rings.AreServed)
            _disk.Close();
        if (DeviceFaults.NeedDecision(error.Code))
            _health.Ask(error, Accepting(error.Code));
        else
            _health.NoteWaiting(error);
        _context.Steps.MarkLater(this, _hostRetry.Next());
    }

    /// <summary>What lets the device go on in spite of an error that waits for a decision.</summary>
    /// <returns>Takes whether the request that waits is answered with an error: see <see cref="Continue"/>.</returns>
    private Action<bool> Accepting(ErrorCode code) =>
        code switch
        {
            ErrorCode.ImageReplaced => _ => _disk.AcceptReplacement(),
            ErrorCode.RequestQuarantined => failRequest =>
                _rings.Decide(failRequest ? SuspectDecision.Fail : SuspectDecision.Try),
            _ => _ => _rings.ForgoJournals(),
        };

    /// <summary>
    /// The disk is full or gone. What it refused is kept in the journals, and the rings are taken over again with a
    /// disk that is opened anew: what stands in the way of that waits as at any takeover.
    /// </summary>
    private void AwaitDisk(int errno)
    {
        _waitsForHost = true;
        _lostAt = _context.Runtime.Time.GetTimestamp();
        _health.NoteWaiting(
            new EngineError(
                ErrorCode.DiskLost,
                $"{_disk.Path ?? "the disk"} does not take requests: {Errno.Describe(errno)}"
            )
            {
                Path = _disk.Path,
                Errno = errno,
            }
        );
        // What the page cache had of a file or device that is gone may be gone with it.
        if (errno is Errno.ENODEV or Errno.ENXIO or Errno.ESTALE && _disk.Current is { CachesWrites: true } disk)
            disk.Lost.Note(errno);
        if (_rings.LetGo())
            _disk.Close();
        _context.Steps.MarkLater(this, _hostRetry.Next());
    }

    /// <summary>
    /// A queue ended by a bug of ours: the device waits, and its rings are taken over anew, as after a kill.
    /// </summary>
    private bool LeaveCrashedQueue(QueueCrash crash)
    {
        if (!_rings.LetGo())
        {
            _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
            return false;
        }
        throw new DeviceException(ErrorCode.QueueCrashed, "a bug of this daemon: " + crash.Describe());
    }

    /// <summary>A disk that was lost counts as back when it has taken all requests for a while.</summary>
    private void NoteDiskBack()
    {
        if (_lostAt is not { } since)
            return;
        TimeSpan left = s_provenAfter - _context.Runtime.Time.GetElapsedTime(since);
        if (left > TimeSpan.Zero)
        {
            _context.Steps.MarkLater(this, left);
            return;
        }
        _lostAt = null;
        EndWaiting();
        LogConnected(_disk.Current!, _rings.Connection!);
    }

    private void EndWaiting()
    {
        _waitsForHost = false;
        _health.ClearWaiting();
        _hostRetry.Reset();
    }

    /// <summary>The device closes: nobody waits for its disk any more.</summary>
    private void WaitNoLonger(IXenstore store)
    {
        if (_rings.LostErrno != 0)
            _rings.FailLost();
        if (_waitsForHost && !_rings.AreServed && _states.FrontendHolds)
            AnswerWithErrors(store);
        _lostAt = null;
        EndWaiting();
    }

    /// <summary>
    /// Serves the rings without a disk: every request fails. A driver closes only when it has all its responses.
    /// </summary>
    private void AnswerWithErrors(IXenstore store)
    {
        try
        {
            _frontend.Check(store);
            DiskKeys keys = DiskKeys.Read(store, _area.Path);
            _offer.Prepare(
                _context.Options.Device(DeviceIdentity.Read(store, Id, keys.Path)),
                keys,
                disk: null,
                _context.Hypervisor.LosesPinnedPages
            );
            _offer.LimitTo(store, _area.Path, takeover: true);
            VbdConnection connection = _frontend.ReadConnection(store, _offer.Options, takeover: true);
            _rings.Start(DeviceDisk.EmptyDrive(), _offer.Options, _limits.Throttle, connection);
        }
        catch (Exception e) when (e is not (XenstoreException or ObjectDisposedException or OutOfMemoryException))
        {
            // The guest then waits until the toolstack removes its device.
            _health.Warn(ErrorOf(e));
        }
    }

    /// <summary>Of the image: another device, or an earlier daemon, may have noticed it.</summary>
    private bool HasLossChanged =>
        _rings.AreServed && _disk.Current is { } disk && (disk.Lost.Errno != 0) != _health.KnowsLoss;

    /// <summary>Says that writes are lost, or no more that they are.</summary>
    private void FollowLoss()
    {
        LostWrites lost = _disk.Current!.Lost;
        if (lost.Errno is var errno and > 0)
            _health.AskAboutLoss(
                new EngineError(
                    ErrorCode.WritesLost,
                    $"the guest's flushes fail, because writes of {_disk.Path ?? "its disk"} that were answered may be "
                        + $"lost: {Errno.Describe(errno)}"
                )
                {
                    Path = _disk.Path,
                    Errno = errno,
                },
                lost.Clear
            );
        else
            _health.ClearLoss();
    }
}
