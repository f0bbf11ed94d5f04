using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The limits of a device's throughput: those of its configuration until a command sets others, which then stay as long
/// as the device does.
/// </summary>
internal sealed class DeviceLimits
{
    private readonly Lock _lock = new();
    private bool _commanded;

    /// <summary>What the device's rings charge.</summary>
    public Throttle Throttle { get; } = new();

    public ThrottleLimits Current => Throttle.Limits;

    /// <summary>Waits for nothing, so that it also works on a device whose disk hangs.</summary>
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
