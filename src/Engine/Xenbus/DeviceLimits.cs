using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The limits of a device's throughput: those of its configuration until a command sets others
/// (<see cref="CommandedLimits"/>).
/// </summary>
internal sealed class DeviceLimits
{
    private readonly Lock _lock = new();
    private bool _commanded;

    /// <summary>The throttle that all rings of the device charge.</summary>
    public Throttle Throttle { get; } = new();

    public ThrottleLimits Current => Throttle.Limits;

    /// <summary>Does not wait, so that it works even if the disk hangs.</summary>
    public void Command(Func<ThrottleLimits, ThrottleLimits> change)
    {
        lock (_lock)
        {
            Throttle.Limits = change(Throttle.Limits);
            _commanded = true;
        }
    }

    public void Configure(ThrottleLimits limits)
    {
        lock (_lock)
        {
            // Setting the limits resets what was charged, so equal ones are not set again.
            if (!_commanded && Throttle.Limits != limits)
                Throttle.Limits = limits;
        }
    }
}
