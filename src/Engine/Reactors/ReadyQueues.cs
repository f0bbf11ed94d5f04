namespace Blkring.Engine.Reactors;

/// <summary>
/// The queues that are due for a pass, by their index: each at most once, first in first out. Fixed size, no
/// allocation.
/// </summary>
internal sealed class ReadyQueues(int capacity)
{
    private readonly int[] _order = new int[capacity];
    private readonly bool[] _marked = new bool[capacity];
    private int _first,
        _count;

    public int Count => _count;

    public void Mark(int index)
    {
        if (_marked[index])
            return;
        _marked[index] = true;
        int place = _first + _count++;
        _order[place < capacity ? place : place - capacity] = index;
    }

    /// <summary>Takes the queue that was marked first. There must be one.</summary>
    public int Take()
    {
        int index = _order[_first];
        if (++_first == capacity)
            _first = 0;
        _count--;
        _marked[index] = false;
        return index;
    }
}
