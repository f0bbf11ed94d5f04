using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class FlushGroupTests
{
    [Fact]
    public void Who_asks_while_a_flush_is_under_way_is_served_by_the_next()
    {
        using PartArena part = new();
        FlushGroup flushes = new(part.Slots.NewList());
        Assert.False(flushes.TryBegin());
        flushes.Want(4);
        flushes.Want(2);
        Assert.True(flushes.TryBegin());
        Assert.Equal((4, 2), (flushes.Leader, flushes.Count));
        flushes.Want(7);
        Assert.False(flushes.TryBegin());

        SlotList served = flushes.End();
        Assert.Equal(-1, flushes.Leader);
        Assert.Equal((2, 4), (served.Count, served.TakeFirst()));
        // A request served may ask at once for its second flush.
        flushes.Want(4);
        Assert.Equal((2, 0), (served.TakeFirst(), served.Count));
        Assert.True(flushes.TryBegin());
        Assert.Equal((7, 2), (flushes.Leader, flushes.Count));
    }
}
