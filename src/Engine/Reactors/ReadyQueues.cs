namespace Blkring.Engine.Reactors;

/// <summary>
/// The queues that want a turn: each at most once, in the order in which they asked. Fixed size, no allocation.
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
