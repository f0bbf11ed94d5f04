using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class ResourceLinesTests
{
    [Fact]
    public void Waiting_requests_restart_only_after_something_came_back()
    {
        using PartArena part = new();
        ResourceLines lines = new(part.Slots.NewList());
        ref RequestSlot holder = ref part.Slots[0];
        lines.Hold(ref holder, SlotHolds.Pages);
        lines.Hold(ref holder, SlotHolds.Pins);
        Assert.True(lines.AnyHeld);
        ResourceLines.Wait(ref lines.Pages, 1, ref part.Slots[1], SlotStage.AwaitPages);
        ResourceLines.Wait(ref lines.Pages, 2, ref part.Slots[2], SlotStage.AwaitPages);
        Assert.Equal(SlotStage.AwaitPages, part.Slots[2].Stage);
        Assert.False(lines.CanRestart);

        lines.Release(ref holder);
        Assert.Equal((false, SlotHolds.None, true), (lines.AnyHeld, holder.Holds, lines.CanRestart));
        lines.BeginRestart();
        Assert.False(lines.CanRestart);
        Assert.Equal((1, 2, 0), (lines.Pages.TakeFirst(), lines.Pages.TakeFirst(), lines.Pages.Count));
        lines.NoteRoom();
        Assert.False(lines.CanRestart);
    }

    [Fact]
    public void A_request_counts_once_whatever_it_holds()
    {
        using PartArena part = new();
        ResourceLines lines = new(part.Slots.NewList());
        lines.Hold(ref part.Slots[0], SlotHolds.Pages);
        lines.Hold(ref part.Slots[0], SlotHolds.Blocks);
        lines.Hold(ref part.Slots[1], SlotHolds.Blocks);
        lines.Release(ref part.Slots[0]);
        Assert.True(lines.AnyHeld);
        lines.Release(ref part.Slots[1]);
        Assert.False(lines.AnyHeld);
    }
}
