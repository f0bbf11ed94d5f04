using Blkring.Abi;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class TakeoverTests
{
    [Fact]
    public void What_was_taken_or_not_yet_pushed_is_adopted_in_order_and_the_rest_is_free()
    {
        using PartArena part = new();
        // Across the point where indices wrap.
        const uint Pushed = uint.MaxValue - 1;
        Write(part, 0, Journal.RecordTaken, request: 2);
        Write(part, 1, Journal.RecordFree, request: 0);
        Write(part, 2, Journal.RecordAnswered, request: uint.MaxValue, response: Pushed);
        Write(part, 3, Journal.RecordAnswered, request: uint.MaxValue - 5, response: Pushed - 1);
        Write(part, 4, Journal.RecordTaken, request: 0);

        Takeover takeover = new(part.Arena, PartArena.Count);
        Assert.Equal(3, takeover.Adopt(ref part.Slots, Pushed, posted: 3));
        Assert.Equal((3, 3), (takeover.Waiting, part.Slots.InFlight));
        Assert.Equal((2, 4, 0), (takeover.Next(), takeover.Next(), takeover.Next()));
        Assert.Equal(0, takeover.Waiting);
        // Killed before it is replayed, a request is found again by its state alone.
        Assert.Equal(Journal.RecordTaken, part.Slots[2].Record->State);
        Assert.Equal(Journal.RecordFree, part.Slots[3].Record->State);
    }

    [Fact]
    public void Of_empty_records_every_slot_is_free()
    {
        using PartArena part = new();
        Takeover takeover = new(part.Arena, PartArena.Count);
        Assert.Equal(0, takeover.Adopt(ref part.Slots, 0, posted: 0));
        Assert.Equal((0, 0), (takeover.Waiting, part.Slots.InFlight));
    }

    /// <summary>
    /// A slot that is used once and never again while the ring's index comes round: at no step may its record look like
    /// a response that was not pushed.
    /// </summary>
    [Theory]
    [InlineData(0u)]
    [InlineData(0x3fffffffu)]
    [InlineData(0x40000000u)]
    [InlineData(0xfffffff0u)]
    public void A_record_that_was_answered_long_ago_is_never_adopted(uint start)
    {
        const uint Step = 200_000_000;
        using PartArena part = new();
        uint pushed = start;
        for (int push = 0; push < 100; push++)
        {
            if (push % 50 == 0)
                Write(part, 3, Journal.RecordAnswered, request: pushed, response: pushed);
            // One push of that many responses stands for many pushes.
            uint first = pushed;
            pushed += Step;
            if (RequestRecord.MustForget(first, pushed))
                part.Slots.ForgetAnswered();
            Assert.False(part.Slots.RecordOf(3).IsUnderWay(pushed));
        }
    }

    [Fact]
    public void More_under_way_than_the_frontend_has_posted_are_of_another_ring()
    {
        using PartArena part = new();
        for (int i = 0; i < 3; i++)
            Write(part, i, Journal.RecordTaken, request: (uint)i);
        Takeover takeover = new(part.Arena, PartArena.Count);
        Assert.Equal(0, takeover.Adopt(ref part.Slots, 0, posted: 2));
        Assert.Equal((0, 0), (takeover.Waiting, part.Slots.InFlight));
    }

    private static void Write(PartArena part, int index, int state, uint request, uint response = 0)
    {
        Journal.Record* record = part.Slots[index].Record;
        (record->State, record->RequestIndex, record->ResponseIndex) = ((byte)state, request, response);
    }
}
