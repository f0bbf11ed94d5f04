using Blkring.Engine.Disks;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Queues;

/// <summary>The queue's flushes, of which one is under way at a time.</summary>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    private void StartFlushes()
    {
        while (_flushes.TryBegin())
        {
            Statistics.MergedFlushesField += _flushes.Count - 1;
            if (_disk.CachesWrites)
                _flushes.Place = _disk.Flushes.Begin();
            StartFlush();
        }
    }

    private void WantFlush(int index, ref RequestSlot slot)
    {
        // No completion of an earlier operation may pass for this one's.
        slot.Generation++;
        _flushes.Want(index);
    }

    /// <summary>The disk operation for all requests of the group, under the tag of its leader.</summary>
    private void StartFlush()
    {
        int leader = _flushes.Leader;
        ref RequestSlot slot = ref _slots[leader];
        slot.Generation++;
        DiskOperation operation = default;
        operation.Kind = DiskOperationKind.Flush;
        operation.Tag = TagOf(leader, ref slot);
        int result = StartDisk(in operation);
        if (result != IDiskIo.Pending)
            CompleteFlush(result);
    }

    private void CompleteFlush(int result)
    {
        int leader = _flushes.Leader;
        if (TryRetry(ref _slots[leader], -result))
        {
            RequeueLater(leader, ref _slots[leader]);
            return;
        }
        // Without a page cache, a flush of a disk that is gone has not begun, and what it covers lies with the disk.
        if (result < 0 && !_disk.CachesWrites && _lost.Keeps(-result))
            KeepFlushes(-result);
        else
            EndFlushes(result);
    }

    private void KeepFlushes(int errno)
    {
        SlotList kept = _flushes.End();
        while (kept.Count > 0)
        {
            int index = kept.TakeFirst();
            FailOrKeep(index, ref _slots[index], errno);
        }
    }

    private void EndFlushes(int result)
    {
        if (result < 0)
            _disk.Lost.Note(-result);
        if (!_disk.CachesWrites)
        {
            AnswerFlushes(result);
            return;
        }
        long now = _disk.Flushes.End(_flushes.Place);
        _flushes.Place = FlushWatch.None;
        if (result < 0 || _disk.Flushes.HaveEnded(now))
        {
            AnswerFlushes(result);
            return;
        }
        // No second completion may pass for this one's.
        _slots[_flushes.Leader].Generation++;
        _flushes.HeldUntil = now;
    }

    /// <summary>Answers flushes that waited for those of other queues, which do not tell when they end.</summary>
    private void ReleaseFlushes()
    {
        if (!_disk.Flushes.HaveEnded(_flushes.HeldUntil))
            return;
        _flushes.HeldUntil = 0;
        AnswerFlushes(0);
    }

    private void AnswerFlushes(int result)
    {
        // Of a flush that was under way meanwhile on another queue, nobody knows which of the two was told.
        if (result >= 0 && _disk.Lost.Errno is > 0 and int lost)
            result = -lost;
        SlotList served = _flushes.End();
        while (served.Count > 0)
        {
            int index = served.TakeFirst();
            ref RequestSlot slot = ref _slots[index];
            // After an error nobody knows what is stable: it is an error for all, now and later.
            if (result < 0)
                Fail(index, ref slot, FaultKind.Disk, -result);
            else if (Advance(index, ref slot, result))
                Start(index, ref slot);
        }
    }
}
