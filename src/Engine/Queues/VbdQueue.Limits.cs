namespace Blkring.Engine.Queues;

/// <summary>
/// What keeps a queue from taking all that is posted: its fair share of the thread, and the limits of its device.
/// </summary>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>
    /// What a pass takes of the requests posted when the frontend works at the same time: a quarter, and few never in
    /// pieces.
    /// </summary>
    private static uint OverlapOf(uint posted) => Math.Min(posted, Math.Max(LeastOverlap, posted / 4));

    /// <summary>
    /// Reads come back from a disk many at a time: what is beyond the fair share of this pass is copied in the next.
    /// </summary>
    private void CopyOut(int index, ref RequestSlot slot)
    {
        if (_awaitingCopy.Count == 0 && _copyCount < MaxSegmentsPerPass)
            GatherCopies(index, ref slot, SlotStage.CopyOut);
        else
            Wait(ref _awaitingCopy, index, ref slot, SlotStage.CopyOut);
    }

    private void RestartCopies()
    {
        while (_awaitingCopy.Count > 0 && _copyCount < MaxSegmentsPerPass)
        {
            int index = _awaitingCopy.TakeFirst();
            GatherCopies(index, ref _slots[index], SlotStage.CopyOut);
        }
    }

    private readonly Throttle? _throttle;
    private bool _heldBack;

    /// <summary>Requests wait on the ring for the device's limits: turn again, but not at once.</summary>
    private bool IsHeldBack => _heldBack && _attached && !_broken;

    private bool MayTake() => _throttle is null || MayTakeWithin(_throttle);

    private bool MayTakeWithin(Throttle throttle)
    {
        if (!throttle.IsLimited)
            return true;
        if (throttle.MayStart(_passStarted))
        {
            throttle.ChargeRequest(_passStarted);
            return true;
        }
        _heldBack = true;
        return false;
    }
}
