namespace Blkring.Engine.Queues;

/// <summary>Whether requests may be taken off the ring: attached, not broken, and within the device's limits.</summary>
internal struct Admission(Throttle? throttle)
{
    /// <summary>
    /// With fewer requests a pass costs more than it gains by ending before the frontend has to wait for it.
    /// </summary>
    public const uint LeastShare = 8;

    private bool _throttled;

    /// <summary>Requests are taken (B18).</summary>
    public bool IsAttached { get; set; }

    /// <summary>The frontend broke the ring: nothing is taken any more (B4).</summary>
    public bool IsBroken { get; private set; }

    /// <summary>Nothing is taken while the disk is lost.</summary>
    public bool IsSuspended { get; set; }

    public readonly bool IsOpen => IsAttached && !IsBroken && !IsSuspended;

    /// <summary>The device has a limit now: each request must be asked for and charged.</summary>
    public readonly bool IsLimited => throttle is { IsLimited: true };

    /// <summary>The throttle needs the time.</summary>
    public readonly bool NeedsClock => throttle is not null;

    /// <summary>No request waits on the ring for the device's limits, as far as the last pass saw.</summary>
    public readonly bool IsWithinLimits => !_throttled;

    /// <summary>Requests wait on the ring for the device's limits: a further pass, but not at once.</summary>
    public readonly bool IsThrottled => _throttled && IsOpen;

    /// <summary>
    /// How many of the requests posted a pass takes. Where the frontend has a CPU of its own it is a quarter, but at
    /// least <see cref="LeastShare"/>: the frontend works on the responses while the next pass takes the rest.
    /// </summary>
    public static uint ShareOf(uint posted, bool frontendHasOwnCpu) =>
        frontendHasOwnCpu ? Math.Min(posted, Math.Max(LeastShare, posted / 4)) : posted;

    public void Break() => IsBroken = true;

    /// <summary>A pass begins: the limits are asked anew.</summary>
    public void BeginPass() => _throttled = false;

    /// <summary>The limits keep the next request on the ring.</summary>
    public void NoteThrottled() => _throttled = true;

    /// <summary>The limits allow one more request; only asked when <see cref="IsLimited"/>.</summary>
    public readonly bool MayTake(long now) => throttle!.MayStart(now);

    public readonly void ChargeRequest(long now) => throttle!.ChargeRequest(now);

    public readonly void ChargeBytes(long now, int bytes) => throttle?.ChargeBytes(now, bytes);

    public readonly void ChargeFlush(long now) => throttle?.ChargeFlush(now);

    public readonly void ChargeDiscard(long now, long bytes) => throttle?.ChargeDiscard(now, bytes);

    /// <summary>Bytes that were charged are not moved after all: requests that wait may go on.</summary>
    public void RefundBytes(int bytes)
    {
        if (throttle is null || bytes == 0)
            return;
        throttle.RefundBytes(bytes);
        _throttled = false;
    }
}
