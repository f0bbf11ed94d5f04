using Blkring.Engine.Disks;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Queues;

/// <summary>
/// Flushes, of FLUSH_DISKCACHE and of barriers: those that are wanted at the same time are one disk operation.
/// </summary>
/// <remarks>
/// A disk flush covers what was written before it started, and nothing that ends while it is under way. So who asks
/// meanwhile waits for the next one, which starts when this one ends and serves all who have asked by then. None is
/// started before the pass has taken its requests.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    private void AskFlush(int index, ref RequestSlot slot)
    {
        // No completion of an earlier operation may pass for this one's.
        slot.Generation++;
        _flushesWanted.Add(index);
    }

    private void StartFlushes()
    {
        while (_flush == NoSlot && _flushesWanted.Count > 0)
        {
            _flush = _flushesWanted.First;
            (_flushing, _flushesWanted) = (_flushesWanted, _flushing);
            Statistics.MergedFlushesField += _flushing.Count - 1;
            IssueFlush();
        }
    }

    /// <summary>The disk operation for all in line, under the tag of the first.</summary>
    private void IssueFlush()
    {
        ref RequestSlot slot = ref _slots[_flush];
        slot.Generation++;
        DiskOperation operation = default;
        operation.Kind = DiskOperationKind.Flush;
        operation.Tag = TagOf(_flush, ref slot);
        int result = _io.Start(in operation);
        if (result != IDiskIo.Pending)
            CompleteFlush(result);
    }

    private void CompleteFlush(int result)
    {
        ref RequestSlot first = ref _slots[_flush];
        if (IsRetried(ref first, -result))
        {
            Postpone(_flush);
            return;
        }
        _flush = NoSlot;
        for (int left = _flushing.Count; left > 0; left--)
        {
            int index = _flushing.TakeFirst();
            ref RequestSlot slot = ref _slots[index];
            // After an error nobody knows what is stable: it is an error for all.
            if (result < 0)
                Fail(index, ref slot, FaultKind.Disk, -result);
            else if (Advance(index, ref slot, result))
                Start(index, ref slot);
        }
    }
}
