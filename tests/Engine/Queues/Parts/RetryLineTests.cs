using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class RetryLineTests
{
    [Fact]
    public void Requests_wait_for_the_delay_of_the_first_and_leave_together()
    {
        using PartArena part = new();
        RetryLine retries = new(part.Arena, PartArena.Count, delayTicks: 100);
        Assert.True(retries.IsEmpty);
        Assert.Equal(0, retries.BeginDue(1_000_000));
        retries.Add(3, now: 1000);
        retries.Add(1, now: 1090);
        Assert.Equal(0, retries.BeginDue(1099));
        Assert.False(retries.IsEmpty);
        Assert.Equal(2, retries.BeginDue(1100));
        Assert.Equal((3, 1, true), (retries.TakeFirst(), retries.TakeFirst(), retries.IsEmpty));
    }

    [Fact]
    public void Requests_that_wait_again_come_behind_those_that_are_being_retried()
    {
        using PartArena part = new();
        RetryLine retries = new(part.Arena, PartArena.Count, delayTicks: 100);
        retries.Add(3, now: 0);
        retries.Add(1, now: 0);
        Assert.Equal(2, retries.BeginDue(100));
        Assert.Equal(3, retries.TakeFirst());
        for (int index = 3; index < PartArena.Count; index++)
            retries.Add(index, now: 100);
        Assert.Equal(1, retries.TakeFirst());
        Assert.Equal(0, retries.BeginDue(199));
        Assert.Equal(PartArena.Count - 3, retries.BeginDue(200));
        for (int index = 3; index < PartArena.Count; index++)
            Assert.Equal(index, retries.TakeFirst());
        Assert.True(retries.IsEmpty);
    }
}
