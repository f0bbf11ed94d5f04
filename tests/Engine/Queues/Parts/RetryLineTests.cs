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
        Assert.Equal(0, retries.TakeDue(1_000_000));
        retries.Add(3, now: 1000);
        retries.Add(1, now: 1090);
        Assert.Equal(0, retries.TakeDue(1099));
        Assert.False(retries.IsEmpty);
        Assert.Equal(2, retries.TakeDue(1100));
        Assert.Equal((3, 1, true), (retries.At(0), retries.At(1), retries.IsEmpty));
    }

    [Fact]
    public void A_request_may_wait_again_once_it_was_read()
    {
        using PartArena part = new();
        RetryLine retries = new(part.Arena, PartArena.Count, delayTicks: 100);
        retries.Add(3, now: 0);
        retries.Add(1, now: 0);
        Assert.Equal(2, retries.TakeDue(100));
        Assert.Equal(3, retries.At(0));
        retries.Add(3, now: 100);
        Assert.Equal(1, retries.At(1));
        Assert.Equal(0, retries.TakeDue(199));
        Assert.Equal(1, retries.TakeDue(200));
        Assert.Equal(3, retries.At(0));
    }
}
