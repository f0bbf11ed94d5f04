using Blkring.Abi;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// Continues a ring where another daemon was killed: the requests that it had taken and not answered are adopted, then
/// replayed in the order in which it took them.
/// </summary>
/// <remarks>
/// A request is under way when its record says Taken, or Answered with a response that was not pushed: rsp_prod, which
/// the frontend has seen, tells. What was consumed is what was pushed and what is under way, so req_cons need not be
/// kept. The frontend cannot have acted on a response that it has not seen, so doing a request twice is right.
/// </remarks>
internal unsafe struct Takeover(Arena arena, int slotCount)
{
    private readonly ushort* _adopted = arena.Take<ushort>(slotCount);
    private int _count,
        _replayed;

    /// <summary>Requests adopted and not yet replayed.</summary>
    public readonly int Waiting => _count - _replayed;

    /// <summary>
    /// Sorts the slots by their records: those of requests in flight are adopted, the others are free.
    /// </summary>
    /// <param name="pushed">The ring's rsp_prod.</param>
    /// <param name="posted">
    /// Requests that the frontend has posted and that have no response. More under way than posted are those of an
    /// earlier ring: none is adopted.
    /// </param>
    /// <returns>The number of requests adopted: the ring's consumer index is that far ahead of rsp_prod.</returns>
    public int Adopt(ref SlotPool slots, uint pushed, uint posted)
    {
        bool possible = CountUnderWay(in slots, pushed) <= posted;
        for (int i = slots.Count; i-- > 0; )
        {
            Journal.Record* record = slots[i].Record;
            bool underWay = possible && (*record).IsUnderWay(pushed);
            record->State = (byte)(underWay ? Journal.RecordTaken : Journal.RecordFree);
            if (underWay)
                Insert(ref slots, i);
            else
                slots.AddFree(i);
        }
        return _count;
    }

    private uint _failedIndex;
    private bool _fails;

    /// <summary>The request with this ring index is answered with an error instead of being replayed.</summary>
    public void Fail(uint? requestIndex) => (_fails, _failedIndex) = (requestIndex is not null, requestIndex ?? 0);

    public readonly bool IsFailed(ref readonly Journal.Record record) => _fails && record.RequestIndex == _failedIndex;

    /// <summary>The next request to replay; there must be one.</summary>
    public int Next() => _adopted[_replayed++];

    private static uint CountUnderWay(ref readonly SlotPool slots, uint pushed)
    {
        uint count = 0;
        for (int i = 0; i < slots.Count; i++)
            if (slots.RecordOf(i).IsUnderWay(pushed))
                count++;
        return count;
    }

    private void Insert(ref SlotPool slots, int index)
    {
        uint requestIndex = slots[index].Record->RequestIndex;
        int place = _count++;
        for (; place > 0 && (int)(slots[_adopted[place - 1]].Record->RequestIndex - requestIndex) > 0; place--)
            _adopted[place] = _adopted[place - 1];
        _adopted[place] = (ushort)index;
    }
}
