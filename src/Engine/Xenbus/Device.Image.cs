using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>The lock on the device's image, and the limits to its use.</summary>
internal sealed partial class Device
{
    /// <summary>A ring that was served before is tried again after this, for as long as it takes.</summary>
    private static readonly TimeSpan s_takeoverPatience = TimeSpan.FromSeconds(1);

    private readonly Throttle _throttle = new();
    private bool _limitedByCommand;

    /// <summary>Who is waited for; null when nobody is.</summary>
    private string? _waitsFor;

    /// <summary>
    /// Before there is a frontend. An image that is in use is no fault yet: a guest that is moved has two domains for a
    /// while, and uses its image in the second only when the first has let go.
    /// </summary>
    private void LockEarly()
    {
        try
        {
            LockImage(TimeSpan.Zero);
        }
        catch (ImageException e) when (e.Error == ImageError.InUse)
        {
            NoteWaiting(e.Message);
        }
    }

    /// <summary>
    /// Before a ring is served. What a killed daemon had handed to the kernel must be over before it is done again; a
    /// guest that runs waits for that, as it would for its disk, and a new one fails after a time.
    /// </summary>
    /// <returns>False when it is to be tried again, which is arranged.</returns>
    private bool LockToServe(bool again)
    {
        try
        {
            LockImage(again ? s_takeoverPatience : _context.Options.LockPatience);
            _waitsFor = null;
            return true;
        }
        catch (ImageException e) when (e.Error == ImageError.InUse && again)
        {
            NoteWaiting(e.Message);
            _context.Pool.MarkLater(this, s_retryDelay);
            return false;
        }
    }

    private void LockImage(TimeSpan patience)
    {
        if (_disk is { } disk)
            LockImage(disk, _diskKeys, patience);
    }

    private void LockImage(Disk disk, DiskKeys keys, TimeSpan patience)
    {
        if (!_options.Lock || keys.SharesWriters || disk is not FileDisk image)
            return;
        _context.Pool.Blocking(() =>
        {
            image.Lock(patience);
            return true;
        });
    }

    private void NoteWaiting(string reason)
    {
        if (_waitsFor is null && MayLog())
            _context.Log.DeviceWarning(Id, reason + "; the guest waits for it");
        _waitsFor = reason;
    }

    /// <summary>Waits for nothing: it works on a device whose disk hangs as well.</summary>
    public void Limit(Func<ThrottleLimits, ThrottleLimits> change)
    {
        lock (_throttle)
        {
            _throttle.Limits = change(_throttle.Limits);
            _limitedByCommand = true;
        }
    }

    /// <summary>What was commanded stays for as long as the device does.</summary>
    private void ApplyConfiguredLimits()
    {
        lock (_throttle)
        {
            // Setting them forgets what was spent.
            if (!_limitedByCommand && _throttle.Limits != _options.Limits)
                _throttle.Limits = _options.Limits;
        }
    }
}
