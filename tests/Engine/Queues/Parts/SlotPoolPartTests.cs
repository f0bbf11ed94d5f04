using Blkring.Abi;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class SlotPoolPartTests
{
    [Fact]
    public void A_slot_is_free_then_in_flight_then_answered_then_free()
    {
        using PartArena part = new();
        Assert.False(part.Slots.HasFree);
        part.Slots.AddFree(3);
        part.Slots.AddFree(5);
        int index = part.Slots.Take();
        Assert.Equal((5, PartArena.Count - 1), (index, part.Slots.InFlight));
        part.Slots.AddAnswered(index);
        Assert.Equal(
            (1, 5, PartArena.Count - 1),
            (part.Slots.AnsweredCount, part.Slots.AnsweredAt(0), part.Slots.InFlight)
        );
        part.Slots[5].Record->State = Journal.RecordAnswered;
        Assert.Equal(1, part.Slots.FreeAnswered());
        Assert.Equal((0, PartArena.Count - 2), (part.Slots.AnsweredCount, part.Slots.InFlight));
        // The record says so until the slot is taken again, or all are forgotten.
        Assert.Equal(Journal.RecordAnswered, part.Slots[5].Record->State);
        part.Slots[6].Record->State = Journal.RecordTaken;
        part.Slots.ForgetAnswered();
        Assert.Equal(
            (Journal.RecordFree, Journal.RecordTaken),
            (part.Slots[5].Record->State, part.Slots[6].Record->State)
        );
        Assert.Equal(5, part.Slots.Take());
    }

    [Fact]
    public void Each_slot_has_a_record_of_its_own()
    {
        using PartArena part = new();
        for (int i = 0; i < PartArena.Count; i++)
            part.Slots[i].Request.Id = (ulong)i;
        for (int i = 0; i < PartArena.Count; i++)
            Assert.Equal((ulong)i, part.Slots[i].Request.Id);
    }
}
