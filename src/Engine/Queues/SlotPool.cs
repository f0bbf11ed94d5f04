using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// The slots of one queue (B1): free, in flight, or answered and free with the push of the pass.
/// </summary>
internal unsafe struct SlotPool
{
    private readonly RequestSlot* _slots;
    private readonly Journal.Record* _records;
    private readonly ushort* _free,
        _answered;
    private int _freeCount,
        _answeredCount;

    /// <summary>Cuts the pool from <paramref name="arena"/>. No slot is free until <see cref="AddFree"/>.</summary>
    /// <param name="records">One for each slot, outside the arena; null to take them from it.</param>
    public SlotPool(Arena arena, int count, Journal.Record* records)
    {
        Count = count;
        _slots = arena.Take<RequestSlot>(count);
        _free = arena.Take<ushort>(count);
        _answered = arena.Take<ushort>(count);
        if (records == null)
            records = arena.Take<Journal.Record>(count);
        if (arena.IsMeasuring)
            return;
        for (int i = 0; i < count; i++)
            _slots[i].Record = records + i;
        _records = records;
    }

    public readonly int Count { get; }

    public readonly ref RequestSlot this[int index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref _slots[index];
    }

    /// <summary>
    /// The record of a slot. Computed, not loaded from the slot: a request's copy need not wait for that load, and a
    /// pass on the null disk takes 3 % less time.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ref Journal.Record RecordOf(int index) => ref _records[index];

    public readonly bool HasFree => _freeCount > 0;

    /// <summary>Slots that are not free, answered ones included.</summary>
    public readonly int InFlight => Count - _freeCount;

    /// <summary>Slots whose response is on the ring and not yet pushed.</summary>
    public readonly int AnsweredCount => _answeredCount;

    /// <summary>A list that slots of this pool can be in.</summary>
    public readonly SlotList NewList() => new(_slots);

    /// <summary>When the oldest request was taken that has no response; 0 if there is none.</summary>
    public readonly long OldestTakenAt
    {
        get
        {
            long oldest = 0;
            for (int i = 0; i < Count; i++)
            {
                ref readonly RequestSlot slot = ref _slots[i];
                // A slot that is free keeps the stage in which it was answered.
                if (slot.Stage is not (SlotStage.Free or SlotStage.Answered) && (oldest == 0 || slot.TakenAt < oldest))
                    oldest = slot.TakenAt;
            }
            return oldest;
        }
    }

    public void AddFree(int index) => _free[_freeCount++] = (ushort)index;

    /// <summary>Takes a free slot; there must be one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Take() => _free[--_freeCount];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void AddAnswered(int index) => _answered[_answeredCount++] = (ushort)index;

    /// <summary>The slot that was answered as number <paramref name="place"/> of the pass.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int AnsweredAt(int place) => _answered[place];

    /// <summary>Frees the answered slots, all at once: what is left in a slot is set anew when it is taken.</summary>
    /// <returns>The number of slots freed.</returns>
    public int FreeAnswered()
    {
        int count = _answeredCount;
        Unsafe.CopyBlockUnaligned(_free + _freeCount, _answered, (uint)count * sizeof(ushort));
        _freeCount += count;
        _answeredCount = 0;
        return count;
    }

    /// <summary>After a push: no record says Answered any more.</summary>
    public readonly void ForgetAnswered()
    {
        for (int i = 0; i < Count; i++)
            if (_records[i].State == Journal.RecordAnswered)
                _records[i].State = Journal.RecordFree;
    }
}
